package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// change is something that happens to the crew when a share of the records is consumed.
type change struct {
	at     float64
	action action
	count  int
}

type action int

const (
	join  action = iota // consumers start
	kill                // consumers are killed by SIGKILL, whatever they are doing
	leave               // consumers finish what they have begun and leave
)

// schedule is the same for all consumers. Those who are killed are replaced only after a
// while: until the broker misses them the others go on, but a rebalance waits for them.
var schedule = []change{
	{0, join, 6},
	{0.10, join, 2},
	{0.25, kill, 2},
	{0.35, join, 2},
	{0.50, leave, 2},
	{0.60, kill, 3},
	{0.70, join, 3},
	{0.80, kill, 1},
	{0.90, join, 2},
}

// apply makes the change and describes it in a few words.
func (c change) apply(ctx context.Context, crew *crew) (string, error) {
	var (
		act  func(context.Context) (int, error)
		done string
	)
	switch c.action {
	case join:
		act, done = crew.start, "joined"
	case kill:
		act, done = crew.kill, fmt.Sprintf("killed by SIGKILL, which Kafka notices after %s", crew.job.SessionTimeout)
	case leave:
		act, done = crew.dismiss, "asked to leave"
	}

	numbers := make([]string, c.count)
	for i := range numbers {
		number, err := act(ctx)
		if err != nil {
			return "", err
		}
		numbers[i] = strconv.Itoa(number)
	}

	return "consumer " + strings.Join(numbers, ", ") + " " + done, nil
}
