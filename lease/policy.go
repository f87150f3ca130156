package lease

import "context"

// Policy says what becomes of an event if nobody knows whether its last attempt took effect: its process crashed,
// or said so (Unknown). The zero value is NeedsDecision.
type Policy struct {
	who decider
	ask func(ctx context.Context, a *Attempt) (Answer, error) // of a function
}

// decider is who decides about such an event.
type decider uint8

const (
	byOperator decider = iota
	byNobody           // It is run again.
	byFunction
)

// mayRerun reports whether an attempt may begin before an operator has decided.
func (p Policy) mayRerun() bool { return p.who != byOperator }

// NeedsDecision leaves the decision to an operator ("idemctl lease decide"). Until then Do returns an
// *UndecidedError.
func NeedsDecision() Policy { return Policy{} }

// Rerun runs the function again. Use it if a second effect does no harm, or if the other system recognizes the key
// of the attempt (Attempt.Key) and answers as it did the first time.
func Rerun() Policy { return Policy{who: byNobody} }

// Ask calls a function that looks at the other system, under the lease of a new attempt. TookEffect completes the
// event, NoEffect runs its function, and StillUnknown leaves the decision to an operator, or to the next call. After
// an error the next call asks again. What an operator has run again is not asked about, until another attempt may have
// taken effect. New refuses a nil function.
func Ask(ask func(ctx context.Context, a *Attempt) (Answer, error)) Policy {
	return Policy{who: byFunction, ask: ask}
}

// Answer says whether an earlier attempt took effect. The zero value is StillUnknown.
type Answer struct {
	known  bool
	result *Result
}

// StillUnknown says that nobody knows.
func StillUnknown() Answer { return Answer{} }

// NoEffect says that no attempt took effect.
func NoEffect() Answer { return Answer{known: true} }

// TookEffect says that an attempt took effect, and with which result.
func TookEffect(result Result) Answer { return Answer{known: true, result: &result} }
