package group

import (
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
)

var (
	// ErrRebalance ends a generation when the group rebalances. What has been processed can still be
	// committed before the member joins again.
	ErrRebalance = errors.New("the group is rebalancing")

	// ErrLost ends a generation that the group has already gone on without.
	ErrLost = errors.New("the group has gone on without this member")
)

// RefusedError is returned when the coordinator refuses what no retry can change.
type RefusedError struct {
	Code   kafka.Error
	Advice string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the coordinator refuses: %v: %s", e.Code, e.Advice)
}

// Unwrap returns the coordinator's code.
func (e *RefusedError) Unwrap() error { return e.Code }

// next is what follows from an error.
type next int

const (
	again   next = iota // the same request after a pause
	find                // the coordinator has to be found again, then the same request
	rejoin              // the generation is over
	forgot              // the generation is over and the member's id is unknown
	refused             // no retry can help
)

// trouble is what an error of the coordinator means: what follows and how to call it in the log, or
// what to do about it.
type trouble struct {
	next next
	text string
}

var troubles = map[kafka.Error]trouble{
	kafka.GroupLoadInProgress:          {again, "the coordinator is loading the group"},
	kafka.UnstableOffsetCommit:         {again, "a transaction that commits offsets of the group is open; its producer has to end it, or transaction.timeout.ms does"},
	kafka.GroupCoordinatorNotAvailable: {find, "no coordinator is available"},
	kafka.NotCoordinatorForGroup:       {find, "the coordinator has moved"},

	kafka.RebalanceInProgress: {rejoin, "the group is rebalancing"},
	kafka.IllegalGeneration:   {rejoin, "the group has begun another generation"},
	kafka.UnknownMemberId:     {forgot, "the group has given this member up"},
	kafka.GroupIdNotFound:     {forgot, "there is no such group any more"},

	kafka.FencedInstanceID:           {refused, "another member has joined with the same Config.InstanceID; give each process its own"},
	kafka.InconsistentGroupProtocol:  {refused, "its members use another protocol: assignors without range (cooperative-sticky, or the server's own of KIP-848), or no consumers at all; stop them, use another Config.Group, or use package franzadapter, which speaks these protocols"},
	kafka.InvalidGroupId:             {refused, "correct Config.Group"},
	kafka.InvalidSessionTimeout:      {refused, "set Config.SessionTimeout to a value between the broker's group.min.session.timeout.ms and group.max.session.timeout.ms"},
	kafka.GroupAuthorizationFailed:   {refused, "give the user the right Read on the group"},
	kafka.TopicAuthorizationFailed:   {refused, "give the user the rights Read and Describe on the topics"},
	kafka.ClusterAuthorizationFailed: {refused, "give the user the rights that it lacks"},
	kafka.GroupMaxSizeReached:        {refused, "the group has as many members as the broker's group.max.size allows"},
	kafka.UnsupportedVersion:         {refused, "the broker is too old: it must be Kafka 2.8 or later"},
	kafka.UnsupportedSASLMechanism:   {refused, "set Config.SASL to a mechanism that the broker has enabled"},
	kafka.SASLAuthenticationFailed:   {refused, "check the user and the password in Config.SASL"},
}

// judge says what follows from an error.
func judge(err error) trouble {
	var code kafka.Error
	switch {
	case errors.Is(err, errUnreadable):
		return trouble{again, "the assignment that the group's leader has made cannot be read"}
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return trouble{find, "the broker closes the connection; if it does so each time, it may want TLS or SASL (Config.TLS, Config.SASL)"}
	case !errors.As(err, &code):
		return trouble{find, "the coordinator cannot be reached"} // A connection is lost, or an answer is none.
	}
	if t, ok := troubles[code]; ok {
		return t
	}

	return trouble{again, "the coordinator reports an error"}
}

// ends returns why a generation is over because of err, or nil if it goes on.
func ends(err error) error {
	switch t := judge(err); {
	case t.next == refused:
		return refusal(err, t.text)
	case errors.Is(err, kafka.RebalanceInProgress):
		return fmt.Errorf("%w: %w", ErrRebalance, err)
	case t.next == rejoin || t.next == forgot:
		return fmt.Errorf("%w: %w", ErrLost, err)
	default:
		return nil
	}
}

func refusal(err error, advice string) error {
	refused := &RefusedError{Advice: advice}
	errors.As(err, &refused.Code)

	return refused
}
