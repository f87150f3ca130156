package wire

import "encoding/binary"

// Writer writes requests, and the data that members send each other in them. Methods whose names
// begin with Compact write the form of KIP-482, the others the classic form.
type Writer struct{ Data []byte }

// Bytes writes them as they are.
func (w *Writer) Bytes(b ...byte) { w.Data = append(w.Data, b...) }

// Int16 writes 2 bytes.
func (w *Writer) Int16(n int16) {
	w.Data = binary.BigEndian.AppendUint16(w.Data, uint16(n)) //nolint:gosec // The sign is part of the field.
}

// Int32 writes 4 bytes.
func (w *Writer) Int32(n int32) {
	w.Data = binary.BigEndian.AppendUint32(w.Data, uint32(n)) //nolint:gosec // The sign is part of the field.
}

// Int64 writes 8 bytes.
func (w *Writer) Int64(n int64) {
	w.Data = binary.BigEndian.AppendUint64(w.Data, uint64(n)) //nolint:gosec // The sign is part of the field.
}

// Count writes how many elements an array has.
func (w *Writer) Count(n int) { w.Int32(int32(n)) } //nolint:gosec // Nothing here has so many.

// Text writes a string of at most 32 KiB. Longer ones are cut.
func (w *Writer) Text(s string) {
	s = s[:min(len(s), 1<<15-1)]
	w.Int16(int16(len(s))) //nolint:gosec // See above.
	w.Data = append(w.Data, s...)
}

// LongBytes writes bytes with their length before them.
func (w *Writer) LongBytes(b []byte) {
	w.Count(len(b))
	w.Data = append(w.Data, b...)
}

// CompactCount is Count in the form of KIP-482.
func (w *Writer) CompactCount(n int) {
	w.Data = binary.AppendUvarint(w.Data, uint64(n)+1) //nolint:gosec // It is not negative.
}

// CompactString writes a string in the form of KIP-482.
func (w *Writer) CompactString(s string) {
	w.CompactCount(len(s))
	w.Data = append(w.Data, s...)
}

// CompactNullable writes an empty string as null.
func (w *Writer) CompactNullable(s string) {
	if s == "" {
		w.Bytes(0)

		return
	}
	w.CompactString(s)
}

// CompactBytes is LongBytes in the form of KIP-482.
func (w *Writer) CompactBytes(b []byte) {
	w.CompactCount(len(b))
	w.Data = append(w.Data, b...)
}

// NoTags ends a struct of the compact form.
func (w *Writer) NoTags() { w.Bytes(0) }
