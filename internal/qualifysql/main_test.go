package main

import (
	"os"
	"testing"
)

// TestMain has the parser begin once: it races with itself where two tests make it do so.
func TestMain(m *testing.M) {
	if _, err := qualify("SELECT 1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
