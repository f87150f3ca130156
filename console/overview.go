package console

import (
	"net/http"

	"github.com/nova-events/idempotent-consumer/ops"
)

type overviewData struct {
	Status ops.Status
	Now    *snapshot
}

func (c *console) overview(w http.ResponseWriter, r *http.Request) error {
	status, err := c.Client.Status(r.Context())
	if err != nil {
		return err
	}
	now := c.live.now(r.Context())
	if now.Err != nil {
		return now.Err
	}

	return c.show(w, r, "overview", overviewData{Status: status, Now: now})
}
