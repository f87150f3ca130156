package console

import (
	"net/http"
	"slices"
)

// logged makes a change and logs it: before, so that one is known which never came to its end, and after it with
// what became of it.
func (c *console) logged(r *http.Request, what string, change []any, do func() (result []any, err error)) error {
	who := []any{"change", what, "user", userOf(r.Context()).Name, "remote", r.RemoteAddr}
	all := slices.Concat(who, change)
	c.Logger.InfoContext(r.Context(), "console: change begins", all...)
	result, err := do()
	all = slices.Concat(all, result)
	if err != nil {
		c.Logger.ErrorContext(r.Context(), "console: change failed", append(all, "error", err)...)

		return err
	}
	c.Logger.InfoContext(r.Context(), "console: change made", all...)

	return nil
}
