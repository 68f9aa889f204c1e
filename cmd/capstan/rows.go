package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"capstan/core/catalog"
	"capstan/core/image"
	"capstan/core/job"
	"capstan/core/nbemm"
	"capstan/core/policy"
	"capstan/core/rt"
	"capstan/core/status"
	"capstan/core/trace"
	"capstan/reports"
)

// instant is a time for reports: one that has not come yet is the zero time.
func instant(t rt.Time) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return t.Std()
}

func jobRow(j *job.Job) reports.Job {
	r := reports.Job{
		ID: j.ID, Type: strings.ToLower(string(j.Type)), State: strings.ToLower(string(j.State)), Status: j.Status,
		Policy: j.Policy, Schedule: j.Schedule, Client: j.Client, Storage: j.StorageUnit, Try: j.Try, Bytes: j.Bytes, Files: j.Files,
		Queued: instant(j.Created), Started: instant(j.Started), Ended: instant(j.Ended), Detail: j.Detail,
	}
	if j.Waiting != "" {
		r.Detail = j.Waiting
	}
	return r
}

func jobRows(js []job.Job) []reports.Job {
	rows := make([]reports.Job, len(js))
	for i := range js {
		rows[i] = jobRow(&js[i])
	}
	return rows
}

func lineRows(ls []job.Line) []reports.Line {
	rows := make([]reports.Line, len(ls))
	for i, l := range ls {
		rows[i] = reports.Line{Time: instant(l.Time), Try: l.Try, Host: l.Host, Role: l.Role, Text: l.Text}
	}
	return rows
}

// typeName is a schedule's type in the words of the policy's YAML.
func typeName(t string) string {
	switch policy.Type(t) {
	case policy.Full:
		return "full"
	case policy.Differential:
		return "differential"
	}
	return strings.ToLower(t)
}

func imageRow(h *image.Header) reports.Image {
	r := reports.Image{
		BackupID: h.ID, Client: h.Client, Policy: h.Policy, Schedule: h.Schedule, Type: typeName(h.Type),
		Time: time.Unix(h.Time, 0).UTC(), Expires: instant(h.Expires), Bytes: h.Bytes, Files: h.Files, Where: []string{},
	}
	for _, f := range h.Fragments {
		r.Copies = max(r.Copies, f.Copy)
		if f.Copy == 1 {
			r.Fragments++
		}
		where := f.StorageUnit
		if f.OnTape() {
			where = f.Media
		}
		if !slices.Contains(r.Where, where) {
			r.Where = append(r.Where, where)
		}
	}
	return r
}

// typeBits are the type bits of stat(2)'s mode.
var typeBits = map[catalog.Type]uint32{
	catalog.Regular: 0o100000, catalog.HardLink: 0o100000, catalog.Symlink: 0o120000, catalog.CharDev: 0o020000,
	catalog.BlockDev: 0o060000, catalog.Directory: 0o040000, catalog.FIFO: 0o010000,
}

func fileRow(e *catalog.Entry) reports.File {
	r := reports.File{
		Path: e.Path, Mode: typeBits[e.Type] | e.Mode, Links: 1, Size: e.Size, Major: e.Major, Minor: e.Minor, MTime: instant(e.MTime),
		Owner: strconv.FormatUint(uint64(e.UID), 10), Group: strconv.FormatUint(uint64(e.GID), 10),
	}
	if e.Type == catalog.Symlink || e.Type == catalog.HardLink {
		r.Link = e.Link
	}
	return r
}

func stepRow(e *trace.Event) reports.Step {
	return reports.Step{
		Step: e.Step, Role: e.Role, Host: e.Host, Begin: e.Begin.Wall.Std(), End: e.End.Wall.Std(), What: e.What, To: e.To,
		Try: e.Job.Try, Status: status.Code(e.Status), Detail: e.Detail,
	}
}

func mediaRow(m *nbemm.Media, drives []nbemm.DriveState) reports.Media {
	r := reports.Media{
		ID: m.ID, Barcode: m.Barcode, Density: m.Density, Pool: m.Pool, State: mediaState(m), Library: m.Library, Slot: m.Element,
		Images: int64(m.Images), Written: m.Bytes, Mounts: int64(m.Mounts), Assigned: instant(m.Assigned),
		LastWrite: instant(m.LastUsed), Expires: instant(m.Expires),
	}
	if slices.ContainsFunc(drives, func(d nbemm.DriveState) bool { return d.Media == m.ID }) {
		r.Slot = 0
	}
	return r
}

// mediaState is what may happen to a cartridge, in a word.
func mediaState(m *nbemm.Media) string {
	switch {
	case m.Frozen:
		return "frozen"
	case m.Full:
		return "full"
	case m.Assigned != 0 || m.Images > 0:
		return "active"
	case m.Pool == nbemm.Scratch:
		return "scratch"
	}
	return "available"
}

func driveRow(d *nbemm.DriveState) reports.DriveState {
	r := reports.DriveState{
		Name: d.Name, Host: d.MediaServer, Library: d.Library, Element: d.Element, State: "up", Media: d.Media, Job: d.Job,
		LastUsed: instant(d.LastUsed),
	}
	if !d.Up {
		r.State = "down"
	}
	return r
}
