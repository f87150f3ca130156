package console

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/ops"
)

// diagnosisLife is for how long a diagnosis is shown again: it takes connections, and seconds with Kafka.
const diagnosisLife = 10 * time.Second

// doctor makes one diagnosis at a time, for all who ask meanwhile.
type doctor struct {
	mu     sync.Mutex
	latest ops.Diagnosis
}

type diagnosisData struct {
	ops.Diagnosis

	Bad, Good []ops.Finding // the worst first
	Kafka     bool
}

func (c *console) diagnose(w http.ResponseWriter, r *http.Request) error {
	c.doctor.mu.Lock()
	defer c.doctor.mu.Unlock()
	if time.Since(c.doctor.latest.CheckedAt) > diagnosisLife {
		diagnosis, err := c.Client.Diagnose(r.Context(), ops.DoctorOptions{Kafka: c.Kafka})
		if err != nil {
			return err
		}
		c.doctor.latest = diagnosis
	}
	d := diagnosisData{Diagnosis: c.doctor.latest, Kafka: c.Kafka != nil}
	for _, f := range d.Findings {
		if f.Severity == ops.SeverityOK {
			d.Good = append(d.Good, f)
		} else {
			d.Bad = append(d.Bad, f)
		}
	}
	slices.SortStableFunc(d.Bad, func(a, b ops.Finding) int { return cmp.Compare(urgency(a.Severity), urgency(b.Severity)) })

	return c.show(w, r, "doctor", d)
}

func urgency(s ops.Severity) int {
	return slices.Index([]ops.Severity{ops.SeverityProblem, ops.SeverityWarning, ops.SeverityUnknown}, s)
}
