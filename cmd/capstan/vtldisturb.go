package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"capstan/core/dev"
	"capstan/core/scsi"
	"capstan/internal/vtlserve"
	target "capstan/vtl/scsi"
)

// disturb sends a request to the library that --socket names.
func disturb(cmd *cobra.Command, q *vtlserve.Request) (vtlserve.Reply, error) {
	socket, err := cmd.Flags().GetString("socket")
	if err != nil {
		return vtlserve.Reply{}, err
	}
	if socket == "" {
		return vtlserve.Reply{}, wrong("give the socket that capstan vtl serve has told: --socket PATH")
	}
	return vtlserve.Disturb(cmd.Context(), socket, q)
}

// disturbing finishes a command that disturbs a library.
func disturbing(cmd *cobra.Command) *cobra.Command {
	cmd.Long = strings.TrimSpace(cmd.Long) + "\n\n" + exitCodes
	cmd.Flags().String("socket", "", "the library's socket, as capstan vtl serve tells it")
	return cmd
}

// operation is what an injection can be about, with the commands that do it.
type operation struct {
	name    string
	opcodes []int
}

func operations() []operation {
	return []operation{
		{dev.OpStatus, []int{scsi.TestUnitReady}},
		{dev.OpReserve, []int{scsi.Reserve6, scsi.Reserve10, scsi.PersistentReserveOut}},
		{dev.OpLoad, []int{scsi.LoadUnload}},
		{dev.OpUnload, []int{scsi.LoadUnload}},
		{dev.OpRewind, []int{scsi.Rewind}},
		{dev.OpLocate, []int{scsi.Locate10, scsi.Locate16}},
		{dev.OpSpace, []int{scsi.Space6, scsi.Space16}},
		{dev.OpPosition, []int{scsi.ReadPosition}},
		{dev.OpRead, []int{scsi.Read6, scsi.Read16}},
		{dev.OpWrite, []int{scsi.Write6, scsi.Write16}},
		{dev.OpFilemarks, []int{scsi.WriteFilemarks6, scsi.WriteFilemarks16}},
		{dev.OpErase, []int{scsi.Erase6, scsi.Erase16}},
		{dev.OpElementStatus, []int{scsi.ReadElementStatus}},
		{dev.OpMove, []int{scsi.MoveMedium}},
	}
}

func operationNames() (names []string) {
	for _, o := range operations() {
		names = append(names, o.name)
	}
	return names
}

// opcodesOf are the operation codes of an operation's name, or of a list in
// hexadecimal: "0A,8A".
func opcodesOf(s string) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	for _, o := range operations() {
		if o.name == s {
			return o.opcodes, nil
		}
	}
	var all []int
	for one := range strings.SplitSeq(s, ",") {
		n, err := strconv.ParseUint(one, 16, 8)
		if err != nil {
			return nil, wrong("--op %q: expected one of %s, or operation codes such as 0A,8A", s, strings.Join(operationNames(), ", "))
		}
		all = append(all, int(n))
	}
	return all, nil
}

// senseOf reads "3/0C/00".
func senseOf(s string) (scsi.Sense, bool) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return scsi.Sense{}, false
	}
	var v [3]uint8
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 16, 8)
		if err != nil {
			return scsi.Sense{}, false
		}
		v[i] = uint8(n)
	}
	return scsi.Sense{Sense: dev.Sense{Key: v[0], ASC: v[1], ASCQ: v[2]}}, v[0] <= 0x0F
}

// vtlInject are the flags of vtl inject.
type vtlInject struct {
	fault vtlserve.Fault
	in    target.Injection
}

func newVTLInject() *cobra.Command {
	var f vtlInject
	cmd := disturbing(&cobra.Command{
		Use:   "inject ERROR",
		Short: "Make operations of a virtual library fail",
		Long: `Make the next operations of a virtual library fail: those on one device or
cartridge, of one kind, or any. They are failed in the order that this was asked for.

ERROR is sense data that the initiator is answered with, as 3/0C/00: sense key,
additional sense code and qualifier in hexadecimal. Or it is what happens to the
device: "delay", which is a wait alone, or one of
  ` + strings.Join(vtlserve.Conditions(), "\n  ") + `

Operations are ` + strings.Join(operationNames(), ", ") + `. For sense data they may also
be operation codes, as 0A,8A.`,
		Example: "  capstan vtl inject 3/0C/00 --device drive1 --op WRITE --skip 10 --socket /tmp/capstan-vtl-0/vtl1\n" +
			"  capstan vtl inject hardware --op 'MOVE MEDIUM' --drop --socket /tmp/capstan-vtl-0/vtl1",
		Args:      usage(cobra.ExactArgs(1)),
		ValidArgs: append(vtlserve.Conditions(), "delay"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := f.request(args[0])
			if err == nil {
				_, err = disturb(cmd, q)
			}
			return err
		},
	})
	s := cmd.Flags()
	s.StringVar(&f.fault.Device, "device", "", "only on this drive or robot; if not for sense data, also with the cartridge of this barcode")
	s.StringVar(&f.fault.Op, "op", "", "only this operation")
	s.IntVar(&f.fault.Skip, "skip", 0, "let so many pass first")
	s.IntVar(&f.fault.Times, "times", 1, "fail so many; -1 is all from now on")
	s.DurationVar(&f.fault.Delay, "delay", 0, "how long the device hangs before it answers, in its own time")
	s.BoolVar(&f.fault.Done, "done", false, "carry the operation out before it is said to have failed")
	s.BoolVar(&f.fault.Drop, "drop", false, "have the robot lose the cartridge on its way; not for sense data")
	s.StringVar(&f.in.Initiator, "initiator", "", "sense data: only for this initiator port")
	s.BoolVar(&f.in.Attention, "attention", false, "sense data: it is owed as a unit attention from this operation on")
	return cmd
}

// request is what the flags ask for.
func (f *vtlInject) request(what string) (*vtlserve.Request, error) {
	if sense, ok := senseOf(what); ok {
		opcodes, err := opcodesOf(f.fault.Op)
		if err != nil {
			return nil, err
		}
		if f.fault.Drop {
			return nil, wrong("--drop is for what happens to the robot, not for sense data")
		}
		f.in.Unit, f.in.Opcodes, f.in.Skip, f.in.Times, f.in.Delay, f.in.Done = f.fault.Device, opcodes, f.fault.Skip, f.fault.Times, f.fault.Delay, f.fault.Done
		f.in.Status, f.in.Sense = scsi.CheckCondition, sense
		return &vtlserve.Request{Injection: &f.in}, nil
	}
	switch {
	case what != "delay" && !slices.Contains(vtlserve.Conditions(), what):
		return nil, wrong("%q is neither an error nor sense data; see capstan vtl inject --help", what)
	case what == "delay" && f.fault.Delay <= 0:
		return nil, wrong("a delay needs its time: --delay 30s")
	case f.fault.Op != "" && !slices.Contains(operationNames(), f.fault.Op):
		return nil, wrong("--op %q: expected one of %s", f.fault.Op, strings.Join(operationNames(), ", "))
	case f.in.Initiator != "" || f.in.Attention:
		return nil, wrong("--initiator and --attention are for sense data")
	}
	if what != "delay" {
		f.fault.Condition = what
	}
	return &vtlserve.Request{Fault: &f.fault}, nil
}

func newVTLClear() *cobra.Command {
	return disturbing(&cobra.Command{
		Use:     "clear",
		Short:   "Forget the faults of a virtual library that were not taken yet",
		Long:    "Forget the faults of a virtual library that were not taken yet.",
		Example: "  capstan vtl clear --socket /tmp/capstan-vtl-0/vtl1",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := disturb(cmd, &vtlserve.Request{Clear: true})
			return err
		},
	})
}

func newVTLAlert() *cobra.Command {
	return disturbing(&cobra.Command{
		Use:   "alert DEVICE FLAG",
		Short: "Raise a TapeAlert flag of a drive or robot",
		Long: `Raise a TapeAlert flag, 1 to 64, of a drive or robot of a virtual library. It stays
until an initiator has read it.`,
		Example: "  capstan vtl alert drive1 20 --socket /tmp/capstan-vtl-0/vtl1",
		Args:    usage(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 1 || n > 64 {
				return wrong("%q is no TapeAlert flag: give 1 to 64", args[1])
			}
			_, err = disturb(cmd, &vtlserve.Request{Alert: &vtlserve.Alert{Device: args[0], Flag: n}})
			return err
		},
	})
}

func newVTLPowerCycle() *cobra.Command {
	return disturbing(&cobra.Command{
		Use:   "power-cycle DRIVE",
		Short: "Switch a drive of a virtual library off and on",
		Long: `Switch a drive of a virtual library off and on: what its buffer held is lost, the
medium is at its beginning, and the next command of each initiator is told of the reset.`,
		Example: "  capstan vtl power-cycle drive1 --socket /tmp/capstan-vtl-0/vtl1",
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := disturb(cmd, &vtlserve.Request{PowerCycle: args[0]})
			return err
		},
	})
}

func element(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, wrong("%q is no element: give its address, a number", s)
	}
	return n, nil
}

func newVTLTakeOut() *cobra.Command {
	return disturbing(&cobra.Command{
		Use:     "take-out ELEMENT",
		Short:   "Take the cartridge out of a mail slot, as a person does",
		Long:    "Take the cartridge out of a mail slot, as a person does, and print its barcode. The first\nmail slot is element 768.",
		Example: "  capstan vtl take-out 768 --socket /tmp/capstan-vtl-0/vtl1",
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := element(args[0])
			if err != nil {
				return err
			}
			r, err := disturb(cmd, &vtlserve.Request{TakeOut: n})
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), r.Barcode)
			}
			return err
		},
	})
}

func newVTLPutIn() *cobra.Command {
	return disturbing(&cobra.Command{
		Use:     "put-in BARCODE ELEMENT",
		Short:   "Put a cartridge into a mail slot, as a person does",
		Long:    "Put a cartridge that was taken out, or that the robot has dropped, into a mail slot. The first\nmail slot is element 768.",
		Example: "  capstan vtl put-in CAP001L8 768 --socket /tmp/capstan-vtl-0/vtl1",
		Args:    usage(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := element(args[1])
			if err != nil {
				return err
			}
			_, err = disturb(cmd, &vtlserve.Request{PutIn: &vtlserve.PutIn{Barcode: args[0], Element: n}})
			return err
		},
	})
}
