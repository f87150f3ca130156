package licences

import (
	"slices"
	"strings"
	"testing"
)

func TestLicencesOf(t *testing.T) {
	t.Parallel()
	const bsd = "Redistribution and use in source and binary\nforms, with or without modification, are permitted"
	for text, want := range map[string][]string{
		"The MIT License\n\nPermission is hereby granted, free of charge, to any person\n obtaining a copy of": {"MIT"},
		bsd: {"BSD-2-Clause"},
		bsd + "... may be used to endorse or promote products derived\nfrom this software without specific": {"BSD-3-Clause"},
		"   Apache License\n   Version 2.0, January 2004":                                                   {"Apache-2.0"},
		bsd + " Some files: GNU General Public License":                                                     {"BSD-2-Clause", "GPL"},
		"All rights reserved.": nil,
	} {
		if got := licencesOf(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestOnlyPermissiveLicencesAreAllowed(t *testing.T) {
	t.Parallel()
	for licence, want := range map[string]string{"MIT": "", "GPL": "x is under GPL; allowed are", "": "no licence is found"} {
		m := &Module{Path: "x"}
		if licence != "" {
			m.Licences = []string{licence}
		}
		_, err := judged(map[string]*Module{"x": m})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(strings.ReplaceAll(err.Error(), "x  ", "x "), want) {
			t.Errorf("%q: %v", licence, err)
		}
	}
}

// The modules that go into this package and its test: only the standard library.
func TestOf(t *testing.T) {
	t.Parallel()
	modules, err := Of(t.Context(), ".", ".")
	if err != nil || len(modules) != 1 || modules[0].Path != "Go" || !slices.Equal(modules[0].Licences, []string{"BSD-3-Clause"}) {
		t.Errorf("%v, %v", modules, err)
	}
}
