package target

import (
	"context"
	"slices"
	"time"

	"capstan/core/scsi"
)

// Injection makes commands end as it says. It is taken by those that match, in
// order, after those of [dev.Fault] that the library itself holds for a device.
type Injection struct {
	Unit      string `json:"unit,omitempty"`      // the device's name; "" is any
	Initiator string `json:"initiator,omitempty"` // "" is any
	// Opcodes are the operation codes that it strikes; none is any but INQUIRY,
	// REPORT LUNS and REQUEST SENSE.
	Opcodes []int `json:"opcodes,omitempty"`
	// Skip lets so many matching commands pass first; Times strikes so many after
	// them, 0 means one, -1 all.
	Skip  int `json:"skip,omitempty"`
	Times int `json:"times,omitempty"`
	// Delay is how long the device waits before it answers, in its own time.
	Delay time.Duration `json:"delay,omitempty"`
	// Done has the command carried out before it is answered.
	Done bool `json:"done,omitempty"`
	// Sense is the answer if Status is CheckCondition; with a Status that is Good
	// the injection is a delay alone.
	Status scsi.Status `json:"status,omitempty"`
	Sense  scsi.Sense  `json:"sense,omitzero"`
	// Lost has the command, or its answer if it was Done, get lost on its way.
	Lost bool `json:"lost,omitempty"`
	// Attention owes Sense to the initiator as a unit attention from this command on.
	// INQUIRY and REPORT LUNS do not raise one.
	Attention bool `json:"attention,omitempty"`
}

// Inject adds an injection; ClearInjections forgets those that were not taken yet.
func (t *Target) Inject(i Injection) {
	if i.Times == 0 {
		i.Times = 1
	}
	i.Opcodes = slices.Clone(i.Opcodes)
	t.lock.Lock()
	t.injections = append(t.injections, &i)
	t.lock.Unlock()
}

// ClearInjections forgets every injection.
func (t *Target) ClearInjections() {
	t.lock.Lock()
	t.injections = nil
	t.lock.Unlock()
}

// injection is the one that strikes a command, nil mostly.
func (t *Target) injection(r *request, c *command) *Injection {
	t.lock.Lock()
	defer t.lock.Unlock()
	for i, j := range t.injections {
		if !j.strikes(r, c) {
			continue
		}
		if j.Skip > 0 {
			j.Skip--
			continue
		}
		if j.Times > 0 {
			if j.Times--; j.Times == 0 {
				t.injections = append(t.injections[:i:i], t.injections[i+1:]...)
			}
		}
		return j
	}
	return nil
}

func (j *Injection) strikes(r *request, c *command) bool {
	switch {
	case j.Unit != "" && j.Unit != r.lun.server.name:
		return false
	case j.Initiator != "" && j.Initiator != r.lun.nexus.initiator:
		return false
	case len(j.Opcodes) == 0:
		return !c.exempt
	}
	return slices.Contains(j.Opcodes, int(c.op))
}

// strike waits as the injection says and is the command's end; nil if it goes on.
func (j *Injection) strike(r *request) error {
	if err := r.lun.server.pass(r.ctx, j.Delay); err != nil {
		return err
	}
	switch {
	case j.Lost:
		return errLost
	case j.Attention:
		r.lun.owe(j.Sense.Sense)
	case j.Status == scsi.CheckCondition:
		return &check{j.Sense}
	case j.Status != scsi.Good:
		return statusError(j.Status)
	}
	return nil
}

// Alert raises a TapeAlert flag, 1 to 64, of a unit, as the drive or the robot
// itself does. It stays until it was read.
func (t *Target) Alert(ctx context.Context, unit string, flag int) error {
	s, err := t.named(unit)
	if err != nil {
		return err
	}
	return s.task(ctx, func(context.Context) error { s.alert(flag); return nil })
}
