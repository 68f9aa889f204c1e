package iscsi

import (
	"encoding/binary"
	"errors"
	"fmt"

	"capstan/core/dev"
	"capstan/core/iscsi"
	"capstan/core/scsi"
)

// read takes what the target sends, until the session ends; then every command in
// flight ends.
func (s *Session) read() {
	defer close(s.over)
	var h iscsi.Header
	for {
		err := s.w.readHeader(&h)
		if err == nil {
			err = s.take(&h)
		}
		if err != nil {
			s.end(err)
			break
		}
	}
	err := s.gone()
	s.mu.Lock()
	defer s.mu.Unlock()
	for tag, k := range s.pending {
		delete(s.pending, tag)
		k.err = err
		k.done <- struct{}{}
	}
}

// take takes one PDU.
func (s *Session) take(h *iscsi.Header) error {
	s.window(h)
	switch h.Opcode() {
	case iscsi.DataIn:
		return s.dataIn(h)
	case iscsi.Response:
		return s.response(h)
	case iscsi.R2T:
		return s.ask(h)
	case iscsi.NopIn:
		return s.nop(h)
	case iscsi.LogoutResp:
		return errors.New("logged out")
	case iscsi.Async:
		return fmt.Errorf("the target ends the session (event %d)", h[36])
	case iscsi.Reject:
		return fmt.Errorf("the target rejects a PDU, reason %02Xh", h[2])
	}
	return fmt.Errorf("the target sends a PDU of type %02Xh", uint8(h.Opcode()))
}

// window takes the numbers that come with each PDU.
func (s *Session) window(h *iscsi.Header) {
	if h.Opcode() != iscsi.R2T && (h.Opcode() != iscsi.DataIn || h.Has(iscsi.HasStatus)) && (h.Opcode() != iscsi.NopIn || h.Tag() != iscsi.NoTag) {
		s.expStatSN.Store(h.StatSN() + 1)
	}
	s.mu.Lock()
	if last := h.Word(32); int32(last-s.maxCmdSN) > 0 {
		s.maxCmdSN = last
		s.room.Broadcast()
	}
	s.mu.Unlock()
}

func (s *Session) find(h *iscsi.Header) (*call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.pending[h.Tag()]
	if k == nil {
		return nil, fmt.Errorf("the target answers command %08Xh, which was not given", h.Tag())
	}
	return k, nil
}

// finish ends a command.
func (s *Session) finish(h *iscsi.Header, k *call) {
	k.res.Status = scsi.Status(h[3])
	want := len(k.cmd.In) + len(k.cmd.Out)
	switch residual := int(h.Word(44)); {
	case h.Has(iscsi.Underflow) && residual <= want:
		k.res.N = want - residual
	case len(k.cmd.Out) > 0 || h.Opcode() == iscsi.DataIn:
		k.res.N = want
	}
	s.mu.Lock()
	delete(s.pending, h.Tag())
	s.mu.Unlock()
	k.done <- struct{}{}
}

// dataIn reads data straight to where the command wants it.
func (s *Session) dataIn(h *iscsi.Header) error {
	k, err := s.find(h)
	if err != nil {
		return err
	}
	n, at := h.DataLen(), int(h.Word(40))
	if at > len(k.cmd.In) || n > len(k.cmd.In)-at {
		return fmt.Errorf("the target sends %d bytes at %d of a command that wants %d", n, at, len(k.cmd.In))
	}
	if err := s.w.readData(k.cmd.In[at : at+n]); err != nil {
		return err
	}
	k.res.N = max(k.res.N, at+n)
	if h.Has(iscsi.HasStatus) {
		s.finish(h, k)
	}
	return nil
}

// response ends a command, with its sense data if there is any.
func (s *Session) response(h *iscsi.Header) error {
	k, err := s.find(h)
	if err != nil {
		return err
	}
	n := h.DataLen()
	if n > 2+65535 {
		return fmt.Errorf("a response with %d bytes", n)
	}
	if n > 0 {
		b := make([]byte, n)
		if err := s.w.readData(b); err != nil {
			return err
		}
		if n >= 2 && h[3] == uint8(scsi.CheckCondition) {
			k.res.Sense = b[2:min(n, 2+int(binary.BigEndian.Uint16(b)))]
		}
	}
	if h[2] != 0 {
		k.err = fmt.Errorf("%w: the target failed at the command, response %02Xh", dev.ErrGone, h[2])
	}
	s.finish(h, k)
	return nil
}

// ask takes what the target asks for.
func (s *Session) ask(h *iscsi.Header) error {
	k, err := s.find(h)
	if err != nil {
		return err
	}
	at, n := int(h.Word(40)), int(h.Word(44))
	if at > len(k.cmd.Out) || n > len(k.cmd.Out)-at || n == 0 {
		return fmt.Errorf("the target asks for %d bytes at %d of a command with %d", n, at, len(k.cmd.Out))
	}
	select {
	case k.asks <- ask{h.Tag(), h.TransferTag(), at, n}:
		return nil
	default:
		return errors.New("the target asks for more data at once than was agreed on")
	}
}

// nop answers a target that asks whether we are still there.
func (s *Session) nop(h *iscsi.Header) error {
	n := h.DataLen()
	if n > maxReceive {
		return fmt.Errorf("a ping with %d bytes", n)
	}
	b := make([]byte, n)
	if err := s.w.readData(b); err != nil {
		return err
	}
	if h.TransferTag() == iscsi.NoTag {
		return nil
	}
	r := iscsi.New(iscsi.NopOut, iscsi.Final, iscsi.NoTag)
	r[0] |= 0x40
	copy(r[8:16], h[8:16])
	r.Set(20, h.TransferTag())
	r.Set(28, s.expStatSN.Load())
	s.mu.Lock()
	r.Set(24, s.cmdSN)
	s.mu.Unlock()
	if s.pinged.Swap(true) {
		return nil // one answer says as much as two
	}
	go func() { // the reading goroutine must not wait for room to write
		defer s.pinged.Store(false)
		if err := s.w.send(&r, b); err != nil {
			s.end(err)
		}
	}()
	return nil
}
