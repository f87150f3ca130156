package schema

import (
	"bytes"
	"fmt"
	"io/fs"
)

// qualifiedFS is the embedded migrations as they read for another schema name.
type qualifiedFS struct{ name string }

func (q qualifiedFS) Open(path string) (fs.File, error) {
	file, err := migrations.Open(path)
	if err != nil {
		return nil, err
	}
	if folder, ok := file.(fs.ReadDirFile); ok {
		return qualifiedFolder{ReadDirFile: folder, files: q}, nil
	}
	defer file.Close() //nolint:errcheck // Embedded files do not fail to close.

	sql, err := migrations.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read embedded migration: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat embedded migration: %w", err)
	}
	text := Qualify(string(sql), q.name)

	return qualifiedFile{Reader: bytes.NewReader([]byte(text)), info: qualifiedInfo{FileInfo: info, size: int64(len(text))}}, nil
}

type qualifiedFile struct {
	*bytes.Reader

	info fs.FileInfo
}

func (f qualifiedFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f qualifiedFile) Close() error               { return nil }

type qualifiedInfo struct {
	fs.FileInfo

	size int64
}

func (i qualifiedInfo) Size() int64 { return i.size }

// qualifiedFolder is the root, the only folder, whose entries tell the sizes of the new texts.
type qualifiedFolder struct {
	fs.ReadDirFile

	files fs.FS
}

func (f qualifiedFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := f.ReadDirFile.ReadDir(n)
	for i, entry := range entries {
		info, err := fs.Stat(f.files, entry.Name())
		if err != nil {
			return nil, fmt.Errorf("stat embedded migration: %w", err)
		}
		entries[i] = fs.FileInfoToDirEntry(info)
	}

	return entries, err
}
