package console

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/nova-events/idempotent-consumer/internal/boundedlog"
	"github.com/nova-events/idempotent-consumer/ops"
)

// LeastToken is how many bytes a token has at least.
const LeastToken = 16

// ErrInvalidConfig is returned, with the reason, by Handler.
var ErrInvalidConfig = errors.New("console: invalid configuration")

// Config describes a console.
type Config struct {
	// Client is what the console shows and changes. Required.
	Client *ops.Client

	// Authorize says who sends a request and what they may do. An error refuses the request with 403; it is logged,
	// not shown. It is called for every page, and must be safe for concurrent use. Required; Everybody makes one for
	// networks that only the right people reach.
	Authorize func(*http.Request) (User, error)

	// Token is asked for before anything is shown, by a page to log in, or in the header "Authorization: Bearer …".
	// LeastToken bytes at least. Default: none, Authorize alone decides.
	Token string

	// Hosts are the names, without ports, under which the console is reached. Requests for others are refused. Default:
	// localhost and loopback addresses on connections to a loopback address; addresses on others, and any name if there is
	// a Token. Set it behind a proxy, and wherever the console has a name.
	Hosts []string

	// Kafka tells how many records are behind the checkpoints, and is what the doctor asks. Optional.
	Kafka ops.Kafka

	// Logger is told of changes at level info, of refused requests at level warn, and of failures at level error.
	// Default slog.Default.
	Logger *slog.Logger
}

// User is who sends a request.
type User struct {
	// Name is shown, and logged with each change.
	Name string

	// Change allows to replay and discard dead letters, to decide about leases and records of the outbox, and to change consumers.
	Change bool

	// Payloads allows to see the keys, header values and values of records, and the results of steps.
	Payloads bool
}

// Everybody returns an Authorize that takes each request for one of the user's.
func Everybody(user User) func(*http.Request) (User, error) {
	return func(*http.Request) (User, error) { return user, nil }
}

// console is what the pages have in common.
type console struct {
	Config

	live   *live
	doctor doctor
}

// Handler returns the console. It does no I/O. Errors wrap ErrInvalidConfig.
func Handler(config Config) (http.Handler, error) {
	switch {
	case config.Client == nil:
		return nil, fmt.Errorf("%w: Client is nil", ErrInvalidConfig)
	case config.Authorize == nil:
		return nil, fmt.Errorf("%w: Authorize is nil; Everybody(User{}) lets everybody read", ErrInvalidConfig)
	case config.Token != "" && len(config.Token) < LeastToken:
		return nil, fmt.Errorf("%w: the token has less than %d bytes", ErrInvalidConfig, LeastToken)
	}
	config.Logger = boundedlog.New(config.Logger)
	c := &console{Config: config, live: newLive(config)}

	return c.secure(c.logIn(http.HandlerFunc(c.route))), nil
}
