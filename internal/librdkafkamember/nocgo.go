//go:build !cgo

package main

import (
	"fmt"
	"os"
)

func main() {
	_, _ = fmt.Fprintln(os.Stderr, "librdkafka needs a C compiler: install gcc")
	os.Exit(1)
}
