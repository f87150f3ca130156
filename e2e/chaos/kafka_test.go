package main

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Leaders that stay where they are, for whatever reason, are no fault.
func TestAnyMoved(t *testing.T) {
	t.Parallel()
	moved, leads, away := int16(0), kerr.ElectionNotNeeded.Code, kerr.PreferredLeaderNotAvailable.Code
	for _, c := range []struct {
		codes []int16
		want  error
	}{
		{[]int16{leads, moved, away}, nil},
		{[]int16{leads, leads}, errNothing},
		{[]int16{leads, away}, kerr.PreferredLeaderNotAvailable},
		{nil, errNothing},
	} {
		var of kmsg.ElectLeadersResponseTopic
		for _, code := range c.codes {
			of.Partitions = append(of.Partitions, kmsg.ElectLeadersResponseTopicPartition{ErrorCode: code})
		}
		if err := anyMoved(&kmsg.ElectLeadersResponse{Topics: []kmsg.ElectLeadersResponseTopic{of}}); !errors.Is(err, c.want) {
			t.Errorf("with the answers %v: %v, want %v", c.codes, err, c.want)
		}
	}
}
