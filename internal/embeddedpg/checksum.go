package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

var errNoChecksum = errors.New("the download has no checksum, so it cannot be trusted")

// needChecksums makes downloads whose checksum cannot be had fail. The library compares the checksum
// where it gets one, and goes on without where it does not.
var needChecksums = sync.OnceFunc(func() {
	http.DefaultClient.Transport = checksums{http.DefaultTransport} // The library takes no client.
})

// checksums passes on only those answers to requests for a checksum that hold one.
type checksums struct{ http.RoundTripper }

func (c checksums) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.RoundTripper.RoundTrip(request)
	if err != nil || !strings.HasSuffix(request.URL.Path, ".sha256") {
		return response, err
	}
	body, err := io.ReadAll(response.Body)
	err = errors.Join(err, response.Body.Close())
	digest, notHex := hex.DecodeString(string(body))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNoChecksum, err)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: %s", errNoChecksum, response.Status)
	case notHex != nil || len(digest) != 32:
		return nil, fmt.Errorf("%w: it is not one of SHA-256", errNoChecksum)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))

	return response, nil
}
