package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// file is one in an archive.
type file struct {
	name    string
	content []byte
	program bool
}

func (f file) mode() fs.FileMode {
	if f.program {
		return 0o755
	}

	return 0o644
}

// archive writes files, in a folder of the archive's name, as the system's people expect it: a zip for Windows, a tar.gz for
// others. Only its arguments have a part in it: neither who makes it nor when.
func archive(name, system string, modified time.Time, files []file) error {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var buffer bytes.Buffer
	write, extension := writeTar, ".tar.gz"
	if system == "windows" {
		write, extension = writeZip, ".zip"
	}
	if err := write(&buffer, filepath.Base(name)+"/", modified, files); err != nil {
		return err
	}

	return os.WriteFile(name+extension, buffer.Bytes(), 0o644) //nolint:gosec // It is for everybody.
}

func writeTar(to *bytes.Buffer, folder string, modified time.Time, files []file) error {
	compressed, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	for _, f := range files {
		header := &tar.Header{Name: folder + f.name, Size: int64(len(f.content)), Mode: int64(f.mode()), ModTime: modified, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(f.content); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}

	return compressed.Close()
}

func writeZip(to *bytes.Buffer, folder string, modified time.Time, files []file) error {
	archive := zip.NewWriter(to)
	for _, f := range files {
		header := &zip.FileHeader{Name: folder + f.name, Method: zip.Deflate, Modified: modified}
		header.SetMode(f.mode())
		entry, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := entry.Write(f.content); err != nil {
			return err
		}
	}

	return archive.Close()
}
