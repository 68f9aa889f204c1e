package target

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"capstan/core/dev"
	"capstan/core/rt"
	"capstan/core/scsi"
)

// server is what the device servers of both kinds share. Its state is used in the
// device's task only.
type server struct {
	target  *Target
	number  int // the LUN
	kind    scsi.DeviceType
	name    string
	serial  string
	product string
	// task runs a function in the device's task.
	task func(ctx context.Context, run func(ctx context.Context) error) error
	// refresh looks what happened to the device since the last command.
	refresh func()
	// status is what TEST UNIT READY says; nil is ready.
	status func() error
	// fault is what was injected into the device for the operation of a command.
	fault func(op string) *dev.Fault
	// suffer does to the device what a fault means beside being told.
	suffer func(err error)
	// kept follows that initiators prevent removal, or do no more.
	kept func(prevented bool)
	// cleared does what a reset does to the unit beside what all units do.
	cleared func()
	// pass lets some of the device's time pass.
	pass func(ctx context.Context, d time.Duration) error
	// vital are the vital product data pages.
	vital []vitalPage

	commands [256][]*command
	pages    []*modePage
	logs     []logPage
	timer    timestamp

	pending    func(ctx context.Context) // of a command with IMMED
	reserved   *LUN                      // by RESERVE(6) or (10)
	persistent persistent
	preventing []*LUN
	alerts     uint64 // TapeAlert flags: flag n is bit n-1
}

// LUN is a logical unit as one initiator sees it. It can be used by several tasks.
type LUN struct {
	nexus   *Nexus
	server  *server
	missing bool

	attentions []dev.Sense // unit attentions that were not reported yet
	late       error       // of a command with IMMED: told as a deferred error
	last       []byte      // descriptors of GENERATE RECOMMENDED ACCESS ORDER
	key        dataKey     // of the initiator alone
}

var _ scsi.Transport = (*LUN)(nil)

// The unit attentions (SPC-5 table F.2).
var (
	powerOn          = dev.Sense{Key: scsi.UnitAttention, ASC: 0x29, ASCQ: 0x00}
	busReset         = dev.Sense{Key: scsi.UnitAttention, ASC: 0x29, ASCQ: 0x02}
	unitReset        = dev.Sense{Key: scsi.UnitAttention, ASC: 0x29, ASCQ: 0x03}
	mediumChanged    = dev.Sense{Key: scsi.UnitAttention, ASC: 0x28, ASCQ: 0x00}
	mailSlotOpened   = dev.Sense{Key: scsi.UnitAttention, ASC: 0x28, ASCQ: 0x01}
	modeChanged      = dev.Sense{Key: scsi.UnitAttention, ASC: 0x2A, ASCQ: 0x01}
	logChanged       = dev.Sense{Key: scsi.UnitAttention, ASC: 0x2A, ASCQ: 0x02}
	preempted        = dev.Sense{Key: scsi.UnitAttention, ASC: 0x2A, ASCQ: 0x03}
	released         = dev.Sense{Key: scsi.UnitAttention, ASC: 0x2A, ASCQ: 0x04}
	unregistered     = dev.Sense{Key: scsi.UnitAttention, ASC: 0x2A, ASCQ: 0x05}
	timestampChanged = dev.Sense{Key: scsi.UnitAttention, ASC: 0x2A, ASCQ: 0x10}
	keyChanged       = dev.Sense{Key: scsi.UnitAttention, ASC: 0x2A, ASCQ: 0x11}
)

// check ends a command with CHECK CONDITION.
type check struct{ scsi.Sense }

func (c *check) Error() string { return c.Sense.String() }

// errConflict ends a command with RESERVATION CONFLICT.
var errConflict = errors.New("reservation conflict")

// errLost ends a command without any answer.
var errLost = errors.New("lost on its way")

func sense(key, asc, ascq uint8) *check {
	return &check{scsi.Sense{Sense: dev.Sense{Key: key, ASC: asc, ASCQ: ascq}}}
}

// What a command that asks for what there is not is answered with.
func badOpcode() error   { return sense(scsi.IllegalRequest, 0x20, 0x00) }
func badField() error    { return sense(scsi.IllegalRequest, 0x24, 0x00) }
func badList() error     { return sense(scsi.IllegalRequest, 0x26, 0x00) }
func badListLen() error  { return sense(scsi.IllegalRequest, 0x1A, 0x00) }
func badSequence() error { return sense(scsi.IllegalRequest, 0x2C, 0x00) }

// request is a command being carried out.
type request struct {
	ctx context.Context
	lun *LUN
	cdb []byte // as long as its operation code says
	out []byte
	in  []byte
	n   int // bytes moved
	// descriptor has sense data be in descriptor format, as the control mode page
	// says when the command ends.
	descriptor bool
}

// reply sends data of which the command takes alloc bytes at most.
func (r *request) reply(b []byte, alloc int) error {
	r.n = copy(r.in, b[:min(len(b), alloc)])
	return nil
}

// list is the parameter list of n bytes that came with the command.
func (r *request) list(n int) ([]byte, error) {
	if n > len(r.out) {
		return nil, badListLen()
	}
	r.n = n
	return r.out[:n], nil
}

// Close does nothing: the nexus stays.
func (l *LUN) Close() error { return nil }

// Name is the device's name in the library.
func (l *LUN) Name() string {
	if l.missing {
		return "no unit"
	}
	return l.server.name
}

// Do carries out a command and returns when it ended, as long as it takes: the
// timeout is the initiator's own. A context that ends before the command began
// keeps it from beginning. The error says that the library was closed, or that an
// injection lost the command or its answer: both wrap [dev.ErrGone].
func (l *LUN) Do(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	r := &request{lun: l, cdb: c.CDB, out: c.Out, in: c.In}
	if l.missing {
		return r.result(l.absent(r))
	}
	if answered, end := l.server.early(ctx, r); answered {
		return r.result(end)
	}
	var err error
	gone := l.server.task(ctx, func(ctx context.Context) error {
		r.ctx = ctx
		err = l.server.serve(r)
		r.descriptor = l.server.descriptorSense()
		return nil
	})
	if gone != nil {
		return scsi.Result{}, fmt.Errorf("%s: %w: %w", l.server.name, gone, dev.ErrGone)
	}
	return r.result(err)
}

// early answers a command that need not wait for the device, where devices take
// time: what the unit is, always, for hosts ask with little patience; and, while
// the medium is being loaded, which can take hours, that it is.
func (s *server) early(ctx context.Context, r *request) (answered bool, end error) {
	if !s.target.lib.Timed() || len(r.cdb) < 6 {
		return false, nil
	}
	c, err := s.find(r)
	if err != nil {
		return false, nil // in its turn
	}
	if c.op == scsi.Inquiry || c.op == scsi.ReportLUNs {
		r.ctx = ctx
		if in := s.target.injection(r, c); in != nil && !in.Attention {
			if err := in.strike(r); err != nil {
				return true, err
			}
		}
		return true, c.run(r)
	}
	if s.kind != scsi.Sequential || c.op == scsi.LogSense {
		return false, nil
	}
	loading := s.target.tapes[s.number-1].becomingReady()
	if loading == nil {
		return false, nil
	}
	if c.op == scsi.RequestSense {
		return true, r.replySense(conditionFrom(loading))
	}
	return true, loading
}

// result is the command's end as the initiator sees it.
func (r *request) result(err error) (scsi.Result, error) {
	res := scsi.Result{N: r.n}
	var c *check
	switch {
	case err == nil:
	case errors.As(err, &c):
		res.Status = scsi.CheckCondition
		res.Sense = r.encode(&c.Sense)
	case errors.Is(err, errConflict):
		res.Status = scsi.ReservationConflict
	case errors.Is(err, errLost):
		return scsi.Result{}, fmt.Errorf("%s: the command or its answer was %w: %w", r.lun.Name(), err, dev.ErrGone)
	default:
		var st statusError
		if errors.As(err, &st) {
			res.Status = scsi.Status(st)
			break
		}
		c := conditionOf(err)
		res.Status, res.Sense = scsi.CheckCondition, r.encode(&c.Sense)
	}
	return res, nil
}

// statusError ends a command with a status that was injected.
type statusError scsi.Status

func (s statusError) Error() string { return scsi.Status(s).String() }

// conditionOf is the sense of a condition of the device.
func conditionOf(err error) *check {
	if s, ok := scsi.SenseOf(err); ok {
		return &check{s}
	}
	return sense(scsi.HardwareError, 0x44, 0x00)
}

// encode is the sense data that goes to the initiator.
func (r *request) encode(s *scsi.Sense) []byte {
	if r.descriptor {
		return s.Descriptor()
	}
	return s.Fixed()
}

// serve checks a command in the order that SPC-5 and SAM-5 give, and runs it.
func (s *server) serve(r *request) error {
	s.finish(r.ctx)
	s.refresh()
	c, err := s.find(r)
	if err != nil {
		return err
	}
	in := s.target.injection(r, c)
	if in != nil && !in.Done {
		if err := in.strike(r); err != nil {
			return err
		}
		in = nil
	}
	if !c.exempt {
		if ua := r.lun.takeAttention(); ua != nil {
			return ua
		}
		if late := r.lun.takeLate(); late != nil {
			return late
		}
	}
	if s.conflicts(r.lun, c.rule) {
		return errConflict
	}
	err = s.run(r, c)
	if in == nil {
		return err
	}
	if lost := in.strike(r); lost != nil {
		return lost
	}
	return err
}

// immediate answers a command with IMMED: it is carried out after its answer, and
// before the next command. Its error comes in the place of the initiator's next
// command, as a deferred error (SPC-5 4.4.3).
func (s *server) immediate(r *request, run func(ctx context.Context) error) error {
	if !s.target.lib.Timed() {
		return run(r.ctx)
	}
	s.pending = func(ctx context.Context) { r.lun.late = run(ctx) }
	rt.Go(r.ctx, "immediate command of "+s.name, func(ctx context.Context) {
		_ = s.task(ctx, func(ctx context.Context) error { s.finish(ctx); return nil })
	})
	return nil
}

// finish carries out what was answered before it was done.
func (s *server) finish(ctx context.Context) {
	if run := s.pending; run != nil {
		s.pending = nil
		run(ctx)
	}
}

// run carries out the command, or what was injected into the device for it.
func (s *server) run(r *request, c *command) error {
	if c.medium {
		if err := s.status(); err != nil {
			return err
		}
	}
	if c.fault == "" {
		return c.run(r)
	}
	return s.struck(r, c, s.fault(c.fault), c.run)
}

// struck carries a command out as a fault of the device has it, if there is one.
func (s *server) struck(r *request, c *command, f *dev.Fault, run func(r *request) error) error {
	if f == nil {
		return run(r)
	}
	if err := s.pass(r.ctx, f.Delay); err != nil {
		return err
	}
	if f.Err == nil || f.Done {
		if err := run(r); err != nil || f.Err == nil {
			return err
		}
	}
	s.suffer(f.Err)
	switch {
	case errors.Is(f.Err, dev.ErrGone):
		return errLost
	case errors.Is(f.Err, dev.ErrReservation):
		return errConflict
	}
	return residue(r, c, f)
}

// find is the command's entry, with its CDB cut to its length.
func (s *server) find(r *request) (*command, error) {
	if len(r.cdb) == 0 {
		return nil, badOpcode()
	}
	entries := s.commands[r.cdb[0]]
	if len(entries) == 0 {
		return nil, badOpcode()
	}
	n := cdbLength(r.cdb[0])
	if len(r.cdb) < n {
		return nil, badField()
	}
	r.cdb = r.cdb[:n]
	for _, c := range entries {
		if c.action == noAction || c.action == int(r.cdb[1]&0x1F) {
			return c, nil
		}
	}
	return nil, badField() // the service action is not known
}

// attend owes a unit attention to every initiator but one, who may be nil.
func (s *server) attend(a dev.Sense, but *LUN) {
	for _, n := range s.target.all() {
		if l := n.luns[s.number]; l != but {
			l.owe(a)
		}
	}
}

// maxAttentions bounds what is owed; more are told as a reset.
const maxAttentions = 8

// owe adds a unit attention that is not owed already.
func (l *LUN) owe(a dev.Sense) {
	switch {
	case slices.Contains(l.attentions, a):
	case a.ASC == 0x29: // a reset goes before all others
		l.attentions = []dev.Sense{a}
	case len(l.attentions) < maxAttentions:
		l.attentions = append(l.attentions, a)
	}
}

// takeAttention is the next unit attention, which is then told.
func (l *LUN) takeAttention() error {
	if len(l.attentions) == 0 {
		return nil
	}
	a := l.attentions[0]
	l.attentions = l.attentions[1:]
	return sense(a.Key, a.ASC, a.ASCQ)
}

// takeLate is the deferred error that the initiator is owed, which is then told.
func (l *LUN) takeLate() error {
	if l.late == nil {
		return nil
	}
	c := &check{conditionFrom(l.late)}
	c.Deferred = true
	l.late = nil
	return c
}

// leave takes back what the initiator holds for as long as its nexus lasts.
func (l *LUN) leave() {
	s := l.server
	if s.reserved == l {
		s.reserved = nil
	}
	s.preventing = slices.DeleteFunc(s.preventing, func(o *LUN) bool { return o == l })
	s.kept(len(s.preventing) > 0)
	l.attentions, l.late, l.last, l.key = nil, nil, nil, dataKey{}
}

// reset does what resets do to a unit: its parameters have their defaults and all
// initiators are told.
func (s *server) reset(ctx context.Context, a dev.Sense) error {
	return s.task(ctx, func(context.Context) error {
		s.wasReset(a)
		return nil
	})
}

func (s *server) wasReset(a dev.Sense) {
	s.reserved, s.preventing = nil, nil
	s.kept(false)
	for _, p := range s.pages {
		copy(p.current, p.def)
	}
	for _, n := range s.target.all() {
		l := n.luns[s.number]
		l.late, l.last, l.key = nil, nil, dataKey{}
	}
	s.cleared()
	s.attend(a, nil)
}

// monoMillis is the world's monotonic clock.
func monoMillis(ctx context.Context) int64 { return rt.Mono(ctx).Milliseconds() }
