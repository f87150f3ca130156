package group

import "encoding/binary"

// writer makes requests, and what members tell each other in them. Its methods whose names begin
// with compact write the form of KIP-482, the others the classic one.
type writer struct{ data []byte }

func (w *writer) bytes(b ...byte) { w.data = append(w.data, b...) }

func (w *writer) int16(n int16) {
	w.data = binary.BigEndian.AppendUint16(w.data, uint16(n)) //nolint:gosec // The sign is part of the field.
}

func (w *writer) int32(n int32) {
	w.data = binary.BigEndian.AppendUint32(w.data, uint32(n)) //nolint:gosec // The sign is part of the field.
}

func (w *writer) int64(n int64) {
	w.data = binary.BigEndian.AppendUint64(w.data, uint64(n)) //nolint:gosec // The sign is part of the field.
}

// count writes how many elements an array has.
func (w *writer) count(n int) { w.int32(int32(n)) } //nolint:gosec // Nothing here has so many.

// string writes a string of at most 32 KiB. Longer ones are cut.
func (w *writer) string(s string) {
	s = s[:min(len(s), 1<<15-1)]
	w.int16(int16(len(s))) //nolint:gosec // See above.
	w.data = append(w.data, s...)
}

func (w *writer) longBytes(b []byte) {
	w.count(len(b))
	w.data = append(w.data, b...)
}

func (w *writer) compactCount(n int) {
	w.data = binary.AppendUvarint(w.data, uint64(n)+1) //nolint:gosec // It is not negative.
}

func (w *writer) compactString(s string) {
	w.compactCount(len(s))
	w.data = append(w.data, s...)
}

// compactNullable writes an empty string as null.
func (w *writer) compactNullable(s string) {
	if s == "" {
		w.bytes(0)

		return
	}
	w.compactString(s)
}

func (w *writer) compactBytes(b []byte) {
	w.compactCount(len(b))
	w.data = append(w.data, b...)
}

// noTags ends a struct of the compact form.
func (w *writer) noTags() { w.bytes(0) }
