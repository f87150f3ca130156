// Package browsertest tests the console in a real browser, Chromium, and takes the screenshots of docs/console.md:
//
//	go run ./internal/withpg go test -C console/browsertest -run TestDemo -screenshots ../../docs/images .
//
// It is a module of its own, so that nobody inherits the browser's client.
package browsertest
