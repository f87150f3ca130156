package schema

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
)

// qualifiedFS is the embedded migrations as they read for another schema name.
type qualifiedFS struct{ name string }

func (q qualifiedFS) Open(path string) (fs.File, error) {
	file, err := migrations.Open(path)
	if err != nil || !strings.HasSuffix(path, ".sql") {
		return file, err
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
	text := []byte(Qualify(string(sql), q.name))

	return &qualifiedFile{Reader: bytes.NewReader(text), info: qualifiedInfo{FileInfo: info, size: int64(len(text))}}, nil
}

type qualifiedFile struct {
	*bytes.Reader

	info fs.FileInfo
}

func (f *qualifiedFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *qualifiedFile) Close() error               { return nil }

type qualifiedInfo struct {
	fs.FileInfo

	size int64
}

func (i qualifiedInfo) Size() int64 { return i.size }
