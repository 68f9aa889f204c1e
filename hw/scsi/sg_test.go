package scsi

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"capstan/core/dev"
	"capstan/core/scsi"
)

// The kernel's structure, field by field (<scsi/sg.h> on 64-bit Linux).
func TestSGHeaderLayout(t *testing.T) {
	var h sgHeader
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"size", unsafe.Sizeof(h), 88},
		{"dxfer_direction", unsafe.Offsetof(h.direction), 4},
		{"cmd_len", unsafe.Offsetof(h.cmdLen), 8},
		{"mx_sb_len", unsafe.Offsetof(h.maxSense), 9},
		{"dxfer_len", unsafe.Offsetof(h.length), 12},
		{"dxferp", unsafe.Offsetof(h.data), 16},
		{"cmdp", unsafe.Offsetof(h.cdb), 24},
		{"sbp", unsafe.Offsetof(h.sense), 32},
		{"timeout", unsafe.Offsetof(h.timeout), 40},
		{"usr_ptr", unsafe.Offsetof(h.user), 56},
		{"status", unsafe.Offsetof(h.status), 64},
		{"sb_len_wr", unsafe.Offsetof(h.senseLen), 67},
		{"host_status", unsafe.Offsetof(h.hostStatus), 68},
		{"resid", unsafe.Offsetof(h.resid), 72},
		{"info", unsafe.Offsetof(h.info), 80},
	} {
		if f.got != f.want {
			t.Errorf("%s is %d; want %d", f.name, f.got, f.want)
		}
	}
}

func TestSGPrepare(t *testing.T) {
	s := &SG{path: "/dev/sg0"}
	data := make([]byte, 300)
	if err := s.prepare(&scsi.Command{CDB: []byte{scsi.Write6, 0, 0, 1, 44, 0}, Out: data, Timeout: 1500 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if h := s.hdr; h.interfaceID != 'S' || h.direction != sgToDev || h.cmdLen != 6 || h.length != 300 || h.timeout != 1500000 || h.data != unsafe.Pointer(&data[0]) || s.cdb[3] != 1 {
		t.Errorf("header of a WRITE: %+v", h)
	}
	if err := s.prepare(&scsi.Command{CDB: []byte{scsi.Read6, 0, 0, 1, 44, 0}, In: data, Timeout: 1000 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if h := s.hdr; h.direction != sgFromDev || h.timeout != largestMillis {
		t.Errorf("header of a READ: %+v", h)
	}
	if err := s.prepare(&scsi.Command{CDB: make([]byte, 6)}); err != nil || s.hdr.direction != sgNone || s.hdr.data != nil {
		t.Errorf("header of a TEST UNIT READY: %+v, %v", s.hdr, err)
	}
	for _, n := range []int{0, 17} {
		if err := s.prepare(&scsi.Command{CDB: make([]byte, n)}); err == nil {
			t.Errorf("a command of %d bytes was taken", n)
		}
	}
}

func TestSGOutcome(t *testing.T) {
	filemark := []byte{0xF0, 0, 0x80, 0, 0, 1, 0, 10, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}
	tests := []struct {
		name   string
		h      sgHeader
		sense  []byte
		status scsi.Status
		n      int
		err    error
		says   string
	}{
		{name: "good", h: sgHeader{length: 100}, n: 100},
		{name: "short", h: sgHeader{length: 100, resid: 60}, n: 40},
		{name: "negative residue", h: sgHeader{length: 100, resid: -4}, n: 100},
		{name: "residue longer than the transfer", h: sgHeader{length: 100, resid: 400}, n: 0},
		{name: "sense data", h: sgHeader{length: 100, resid: 100, status: 2, driverStatus: 8}, sense: filemark, status: scsi.CheckCondition},
		{name: "sense data without a status", h: sgHeader{length: 100, driverStatus: 8}, sense: filemark, status: scsi.CheckCondition, n: 100},
		{name: "busy", h: sgHeader{status: 8}, status: scsi.Busy},
		{name: "reservation conflict", h: sgHeader{status: 0x18, hostStatus: didNexusFailure}, status: scsi.ReservationConflict},
		{name: "reservation conflict, host status alone", h: sgHeader{hostStatus: didNexusFailure}, status: scsi.ReservationConflict},
		{name: "bus busy: not sent", h: sgHeader{hostStatus: didBusBusy}, status: scsi.Busy},
		{name: "no connection", h: sgHeader{hostStatus: didNoConnect}, err: dev.ErrGone, says: "no connection"},
		{name: "time limit", h: sgHeader{hostStatus: didTimeOut}, err: dev.ErrGone, says: "time limit"},
		{name: "time limit by the driver's status", h: sgHeader{driverStatus: 6}, err: dev.ErrGone, says: "time limit"},
		{name: "reset", h: sgHeader{hostStatus: didReset}, err: dev.ErrGone, says: "reset"},
		{name: "another host status", h: sgHeader{hostStatus: 0x13}, err: dev.ErrGone, says: "13h"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &SG{path: "/dev/sg0", hdr: tt.h}
			s.hdr.senseLen = uint8(copy(s.sense[:], tt.sense))
			r, err := s.outcome()
			if !errors.Is(err, tt.err) || (err != nil && !strings.Contains(err.Error(), tt.says)) {
				t.Fatalf("outcome: %v; want %v with %q", err, tt.err, tt.says)
			}
			if err == nil && (r.Status != tt.status || r.N != tt.n || len(r.Sense) != len(tt.sense)) {
				t.Errorf("outcome %+v; want %v, %d bytes, %d of sense", r, tt.status, tt.n, len(tt.sense))
			}
		})
	}
}

func TestSGErrno(t *testing.T) {
	s := &SG{path: "/dev/sg0", max: 4096}
	if err := s.unsent(unix.ENOMEM, 1<<20); !errors.Is(err, dev.ErrGone) || !errors.Is(err, ErrNotSent) {
		t.Errorf("ENOMEM: %v", err)
	}
	if err := s.unsent(unix.EINVAL, 1<<20); !errors.Is(err, dev.ErrNotSupported) || errors.Is(err, dev.ErrGone) {
		t.Errorf("EINVAL: %v", err)
	}
	if err := s.unsent(unix.ENODEV, 0); !errors.Is(err, dev.ErrGone) || errors.Is(err, ErrNotSent) {
		t.Errorf("ENODEV: %v", err)
	}
}

// TestOpenSGRefuses: what is no generic SCSI device is found at the open.
func TestOpenSGRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, "/dev/null", filepath.Join(t.TempDir(), "none")} {
		if s, err := OpenSG(path); err == nil {
			t.Errorf("%s was opened: %v", path, s)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name %s: %v", path, err)
		}
	}
	s := &SG{path: "/dev/sg0"}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Do(ctx, &scsi.Command{CDB: make([]byte, 6)}); !errors.Is(err, context.Canceled) {
		t.Errorf("a command after its context ended: %v", err)
	}
}
