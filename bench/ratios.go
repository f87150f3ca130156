package main

import "slices"

// ratio compares two measurements, round by round, or states a figure that has a goal.
type ratio struct {
	Name        string  `json:"name"`
	What        string  `json:"what"`
	Numerator   string  `json:"numerator"`
	Denominator string  `json:"denominator,omitempty"`
	Goal        float64 `json:"goal,omitempty"`
	AtMost      bool    `json:"at_most,omitempty"` // the goal is a maximum
	Value       series  `json:"value"`

	// CPU is how many times the CPU time of the numerator's event the denominator's takes, client
	// and server together. Other load on the machine matters less to it. 0: unknown.
	CPU float64 `json:"cpu,omitempty"`
}

// met reports whether the goal, if there is one, is reached.
func (r ratio) met() bool {
	return r.Goal == 0 || (r.AtMost && r.Value.Median <= r.Goal) || (!r.AtMost && r.Value.Median >= r.Goal)
}

// compare fills in the ratios.
func (r *report) compare() {
	r.RatioDetails, r.Ratios = nil, map[string]float64{}
	seed := r.best(seedName)
	batch, both, mark := r.best(batchName), r.best(bothName), r.best(checkpointName)
	r.divide("batch_vs_seed", "ProcessBatch / seed, both at their best concurrency", batch, seed, 25)
	r.divide("batch_checkpoint_vs_seed", "Owner.ProcessBatch with keys / seed, both at their best", both, seed, 0)
	r.divide("checkpoint_vs_seed", "Owner.ProcessBatch without keys / seed, both at their best", mark, seed, 50)
	r.divide("batch_vs_raw_sql", "ProcessBatch / the same by hand, one session each", r.find("direct/batch/1"), r.best(rawName), 0.85)
	r.divide("checkpoint_vs_raw_sql", "Owner.ProcessBatch without keys / the same by hand, one session each", r.find("direct/checkpoint/1"), r.best(rawCheckpointName), 0)
	workers := r.Settings.Workers
	single, exec, sameSeed := r.find(singleSubject(workers).id(baseLoad)), r.find(execSubject(workers).id(baseLoad)), r.find(seedSubject(workers).id(baseLoad))
	r.divide("single_vs_seed", "ProcessIfNew / seed, with as many workers", single, sameSeed, 1.3)
	r.divide("single_vs_seed_best", "ProcessIfNew / seed, each with the number of workers that suits it best", r.best(singleName), seed, 0)
	r.divide("single_vs_pgbench", "ProcessIfNew / the same statements by pgbench, or by pgx where there is no pgbench", single, r.firstOf(pgbenchName, pgxName), 0.9)
	r.divide("single_vs_pgx", "ProcessIfNew / the same statements by pgx", single, r.best(pgxName), 0)
	r.divide("exec_vs_seed", "ExecIfNew / seed, with as many workers", exec, sameSeed, 0)
	r.divide("exec_vs_seed_best", "ExecIfNew / seed, each with the number of workers that suits it best", r.best(execName), seed, 0)
	r.divide("exec_vs_single", "ExecIfNew / ProcessIfNew", exec, single, 0)
	r.divide("mark_first_vs_seed", "marked before it is processed / seed, with as many workers", r.find(markFirstSubject(workers).id(baseLoad)), sameSeed, 0)
	r.divide("seed_vs_fsync", "events of the seed, each with two COMMITs / fsyncs, one after the other", seed, r.best(fsyncName), 0)
	r.divideAtMost("expiry_p99", "p99 of ProcessIfNew while expired rows are deleted / undisturbed", r.find("expiry/p99/while_deleting"), r.find("expiry/p99/undisturbed"), 1.5)
	r.compareEndToEnd()
	r.state("disk_bytes_per_key", "bytes on disk for each uuid4 key", r.find("storage/disk/idem/uuid4"), 155)
	r.state("wal_bytes_per_key", "bytes of WAL for each uuid4 key, without a business write", r.find("storage/wal/idem/uuid4"), 300)
}

// compareEndToEnd fills in those of consumers of Kafka.
func (r *report) compareEndToEnd() {
	handle, batch, checkpoint := r.e2e(handleName), r.e2e(batchName), r.e2e(checkpointName)
	one, watermill, least := r.e2e(handwrittenName), r.e2e(watermillName), r.e2e(atLeastOnceName)
	r.divide("e2e_handle_vs_watermill", "Handle / Watermill's Kafka subscriber and router with the hand-written transaction", handle, watermill, 6)
	r.divide("e2e_queue_vs_watermill", "HandleQueue / the same", r.e2e(queueName), watermill, 18)
	r.divide("e2e_handle_vs_handwritten", "Handle / one hand-written reader", handle, one, 0)
	r.divide("e2e_batch_vs_handwritten", "HandleBatch / one hand-written reader", batch, one, 50)
	r.divide("e2e_batch_vs_handwritten_readers", "HandleBatch / a hand-written reader for each partition", batch, r.e2e(readersName), 0)
	r.divide("e2e_batch_vs_handwritten_batch", "HandleBatch / a hand-written reader of batches for each partition", batch, r.e2e(handBatchName), 1)
	r.divide("e2e_batch_vs_watermill", "HandleBatch / Watermill's Kafka subscriber and router with the hand-written transaction", batch, watermill, 0)
	r.divide("e2e_checkpoint_vs_handwritten", "HandleBatch without keys / one hand-written reader", checkpoint, one, 0)
	r.divide("e2e_checkpoint_vs_at_least_once", "HandleBatch without keys / franz-go with the same batches, neither claims nor checkpoint", checkpoint, least, 0.95)
	r.divide("e2e_exactly_once_vs_at_least_once", "HandleBatch / the same: the price of exactly once", batch, least, 0.42)
	r.divide("e2e_metrics_vs_batch", "HandleBatch with metrics by idemotel / without", r.e2e(metricsName), batch, 0.97)
	r.divide("e2e_traces_vs_batch", "HandleBatch with metrics and a tenth of all traces / without", r.e2e(tracesName), batch, 0.9)
	adapter := r.find(sectionConsume + "/" + adapterName)
	r.divide("consume_vs_franz", "fetches of kafkaadapter / franz-go, without a database", adapter, r.find(sectionConsume+"/"+franzName), 1)
	r.divide("consume_vs_reader", "fetches of kafkaadapter / kafka.Reader, without a database", adapter, r.find(sectionConsume+"/"+readerName), 0)
	effect := func(name string) *measurement { return r.find(sectionEffects + "/" + name) }
	r.divide("lease_vs_single", "an effect under a lease, and a business write in the transaction that completes it / ProcessIfNew with that write", effect(leaseName), effect(singleName), 0)
	r.divide("publish_vs_batch", "ProcessBatch that also publishes a record for each event / that only makes it", effect(publishName), effect(batchName), 0.85)
	r.divide("publish_vs_insert", "the same / with a plain INSERT of the same rows", effect(publishName), effect(insertName), 0)
	r.divide("relay_vs_produce", "records of the outbox that the relay takes to Kafka / that its producer sends alone", effect(relayName), effect(produceName), 0.7)
	r.divide("relay_vs_drain", "the same / that one session reads and deletes by hand, without Kafka", effect(relayName), effect(drainName), 0)
	r.state("idle_p99_ms", "milliseconds from the call that produces a record to its COMMIT, on an idle topic, for 99 %", r.find("e2e/idle/committed_p99"), 3)
	r.divide("idle_p50_vs_at_least_once", "the same for 50 % / by franz-go with the same write, neither a claim nor a checkpoint", r.find("e2e/idle/committed_p50"), r.find("e2e/idle_at_least_once/committed_p50"), 0)
}

// divide adds the ratio of two measurements, if there are both.
func (r *report) divide(name, what string, numerator, denominator *measurement, goal float64) {
	if numerator != nil && denominator != nil {
		r.addRatio(quotient(name, what, numerator, denominator, goal))
	}
}

// divideAtMost is divide with a goal that is a maximum.
func (r *report) divideAtMost(name, what string, numerator, denominator *measurement, atMost float64) {
	if numerator != nil && denominator != nil {
		q := quotient(name, what, numerator, denominator, atMost)
		q.AtMost = true
		r.addRatio(q)
	}
}

func quotient(name, what string, numerator, denominator *measurement, goal float64) ratio {
	rounds := min(len(numerator.samples), len(denominator.samples))
	quotients := make([]float64, rounds)
	for i := range quotients {
		quotients[i] = numerator.samples[i].rate / denominator.samples[i].rate
	}
	q := ratio{Name: name, What: what, Numerator: numerator.ID, Denominator: denominator.ID, Goal: goal, Value: newSeries(quotients)}
	n, d := numerator.PerEvent.cpu(), denominator.PerEvent.cpu()
	if numerator.Section == sectionConsume { // There is no server.
		n, d = numerator.PerEvent.ClientCPU, denominator.PerEvent.ClientCPU
	}
	if n > 0 && d > 0 {
		q.CPU = d / n
	}

	return q
}

func (r *report) state(name, what string, m *measurement, atMost float64) {
	if m != nil {
		r.addRatio(ratio{Name: name, What: what, Numerator: m.ID, Goal: atMost, AtMost: true, Value: m.Value})
	}
}

func (r *report) addRatio(q ratio) {
	r.RatioDetails = append(r.RatioDetails, q)
	r.Ratios[q.Name] = q.Value.Median
}

// best returns the fastest measurement of a subject with the base load.
func (r *report) best(name string) *measurement {
	var best *measurement
	for _, m := range r.Measurements {
		if m.Section == sectionDirect && m.Subject == name && m.Load == baseLoad && (best == nil || m.Value.Median > best.Value.Median) {
			best = m
		}
	}

	return best
}

func (r *report) firstOf(names ...string) *measurement {
	i := slices.IndexFunc(names, func(name string) bool { return r.best(name) != nil })
	if i < 0 {
		return nil
	}

	return r.best(names[i])
}

func (r *report) e2e(name string) *measurement { return r.find("e2e/" + name) }
