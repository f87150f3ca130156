package history

import "slices"

// What an unclean election excuses.

// findDropped finds the records that an election has dropped: they were acknowledged while the leader to be lacked what
// came, stood behind the end of its log, and are not in the log.
func (c *checker) findDropped() {
	for _, s := range c.run.Sent {
		election := slices.IndexFunc(c.run.Elections, func(e Election) bool {
			return e.Partition == s.Partition && !s.At.Before(e.From) && !s.At.After(e.To) && s.Offset >= e.End
		})
		if s.Fate == Acknowledged && election >= 0 && c.records[s.Place] != s.Record {
			c.dropped[s.Record] = election + 1
		}
	}
}

// order is what the effects of a key have an order in: its log, or what an election has dropped of that.
type order struct {
	Partition

	key      string
	election int // 0: what is in the log
}

func (c *checker) orderOf(r Record) order { return order{r.Partition, r.Key, c.dropped[r]} }
