package vtl

import (
	"fmt"
	"strings"
	"time"
)

// RobotModel is a model of robot: its arms run along columns of elements, and reach up
// and down in a column. Each string of a library has its own arms.
type RobotModel struct {
	Name      string
	Pick, Put time.Duration
	Overhead  time.Duration // of a command, before and after the arm moves
	Speed     int64         // along the columns, mm a second
	Pitch     int64         // mm between neighbouring columns
	Rise      int64         // up and down, mm a second
	RowPitch  int64         // mm between neighbouring rows
	Rows      int           // elements of a column
	// Aside is what an arm in the way costs.
	Aside time.Duration
	// PassThrough is the time from one string of a library to the next.
	PassThrough time.Duration
	// Audit is the time to read one element's barcode.
	Audit time.Duration
	// MailSlot is the time that opening and closing the mail slots takes.
	MailSlot time.Duration
}

// RobotModels are the models known.
//
// rack: a library of modules of 3U (40 slots). ASSUMED whole: no maker publishes times;
// moves come out at 8 to 12 s, which people report. Measure one with mtx, and set what
// you found.
// autoloader: one drive, one column. ASSUMED but for the audit: 5 s for a cell with a
// barcode (manuals of small autoloaders).
// SL8500: pick and put 1 s (Robot.py of the library simulator of SC'16), HandBot 2 to
// 2.5 m/s (Oracle, SL8500 planning guide, 96154). A rail with its elevator is a string.
// ASSUMED: the others, the geometry too (13 rows, and columns 114 mm apart on each of the
// two walls).
// TS4500: no parts are published. ASSUMED whole; an audit reads 440 slots in a minute.
var RobotModels = []RobotModel{
	{
		Name: "rack", Pick: 1500 * time.Millisecond, Put: 1500 * time.Millisecond, Overhead: 5 * time.Second,
		Speed: 1000, Pitch: 120, Rise: 500, RowPitch: 30, Rows: 10, Aside: 3 * time.Second,
		PassThrough: 30 * time.Second, Audit: time.Second, MailSlot: 20 * time.Second,
	}, {
		Name: "autoloader", Pick: 2 * time.Second, Put: 2 * time.Second, Overhead: 8 * time.Second,
		Speed: 300, Pitch: 120, Rise: 300, RowPitch: 30, Rows: 9, Aside: 3 * time.Second,
		PassThrough: 30 * time.Second, Audit: 5 * time.Second, MailSlot: 20 * time.Second,
	}, {
		Name: "SL8500", Pick: time.Second, Put: time.Second, Overhead: 2 * time.Second,
		Speed: 2250, Pitch: 57, Rise: 500, RowPitch: 25, Rows: 13, Aside: 2 * time.Second,
		PassThrough: 15 * time.Second, Audit: 300 * time.Millisecond, MailSlot: 30 * time.Second,
	}, {
		Name: "TS4500", Pick: 500 * time.Millisecond, Put: 500 * time.Millisecond, Overhead: 500 * time.Millisecond,
		Speed: 2500, Pitch: 110, Rise: 2500, RowPitch: 25, Rows: 40, Aside: time.Second,
		PassThrough: 15 * time.Second, Audit: 136 * time.Millisecond, MailSlot: 20 * time.Second,
	},
}

// RobotTimes are set in place of a model's; 0 leaves the model's.
type RobotTimes struct {
	Pick        time.Duration `json:"pick,omitempty"`
	Put         time.Duration `json:"put,omitempty"`
	Overhead    time.Duration `json:"overhead,omitempty"`
	Aside       time.Duration `json:"aside,omitempty"`
	PassThrough time.Duration `json:"pass_through,omitempty"`
	Audit       time.Duration `json:"audit,omitempty"`
	MailSlot    time.Duration `json:"mail_slot,omitempty"`
}

// robotModel is the model of a name, with times of its own.
func robotModel(name string, own *RobotTimes) (*RobotModel, error) {
	if name == "" {
		name = RobotModels[0].Name
	}
	var names []string
	for _, m := range RobotModels { // a copy
		if m.Name != name {
			names = append(names, m.Name)
			continue
		}
		for _, t := range []struct {
			of  *time.Duration
			own time.Duration
		}{
			{&m.Pick, own.Pick}, {&m.Put, own.Put}, {&m.Overhead, own.Overhead}, {&m.Aside, own.Aside},
			{&m.PassThrough, own.PassThrough}, {&m.Audit, own.Audit}, {&m.MailSlot, own.MailSlot},
		} {
			if t.own < 0 {
				return nil, fmt.Errorf("robot model %s: a time of %v: give 0 for the model's, or more", name, t.own)
			}
			if t.own > 0 {
				*t.of = t.own
			}
		}
		return &m, nil
	}
	return nil, fmt.Errorf("no robot model %q is known: give one of %s", name, strings.Join(names, ", "))
}

// stand is a place before the elements: an arm's, or an element's.
type stand struct {
	column, row int64
}

// travel is the time of an arm's way: it runs and reaches at the same time.
func (m *RobotModel) travel(a, b stand) time.Duration {
	along := abs(a.column-b.column) * m.Pitch * int64(time.Second) / m.Speed
	up := abs(a.row-b.row) * m.RowPitch * int64(time.Second) / m.Rise
	return time.Duration(max(along, up))
}

// carry is the time in which an arm that is at one place brings a cartridge from a
// second to a third.
func (m *RobotModel) carry(at, from, to stand) time.Duration {
	return m.Overhead + m.travel(at, from) + m.Pick + m.travel(from, to) + m.Put
}
