package consume

import (
	"fmt"
	"time"
)

// PoolWaitError is Event.Err of an EventPoolWait: for five seconds all connections of the guard's pool
// have been in use and none has become free. A handler that takes a connection from the same pool,
// instead of using its transaction, waits for ever if all other handlers do so too. Let handlers use
// their transaction, give them a pool of their own, or make the pool larger (pool_max_conns): see
// Config.Lanes.
type PoolWaitError struct {
	MaxConns int32         // the pool's size
	Waited   time.Duration // so long at least
}

func (e *PoolWaitError) Error() string {
	return fmt.Sprintf("all %d connections of the guard's pool have been in use for %v or longer; a handler that waits for one, in place of using its transaction, may wait for ever",
		e.MaxConns, e.Waited)
}
