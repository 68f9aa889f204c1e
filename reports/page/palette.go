package page

import (
	"fmt"
	"image/color"

	"capstan/reports/answers"
	"capstan/reports/record"
)

// kindColors are of the resources, after Tableau's ten colours: neighbours in a
// stack differ in lightness too.
var kindColors = map[record.Kind]color.NRGBA{
	record.Source:     rgb(0x4e79a7),
	record.Link:       rgb(0x76b7b2),
	record.Connection: rgb(0xd4e6e4),
	record.Network:    rgb(0x2f7f5f),
	record.Server:     rgb(0x9ccc7c),
	record.Drive:      rgb(0xe15759),
	record.Position:   rgb(0xf28e2b),
	record.Robot:      rgb(0x8e5ea2),
	record.Queue:      rgb(0xffb3ba),
	record.Media:      rgb(0x9c755f),
	record.Limit:      rgb(0xedc948),
	record.Other:      rgb(0xbab0ac),
}

// The colours of what is no resource.
var (
	ink   = rgb(0x2b2f36)
	faint = rgb(0x6b7280)
	grid  = rgb(0xe5e7eb)
	good  = rgb(0x2f7f5f)
	bad   = rgb(0xc0392b)
	shade = rgb(0xf3f4f6)
)

func rgb(v uint32) color.NRGBA {
	return color.NRGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 255} //nolint:gosec // the bytes of a colour
}

func hex(c color.NRGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

// fade is a colour with less of it.
func fade(c color.NRGBA, a uint8) color.NRGBA {
	c.A = a
	return c
}

// mark is an entry of a legend.
type mark struct{ Color, Text string }

// kindMarks are the legend of the kinds that are there.
func kindMarks(there func(k record.Kind) bool) (all []mark) {
	for _, k := range record.Kinds() {
		if there(k) {
			all = append(all, mark{hex(kindColors[k]), answers.Name(k)})
		}
	}
	return all
}

// activity is something that a drive does, and how a chart shows it.
type activity struct {
	name  string
	color color.NRGBA
	of    func(u *record.Use) float64 // in ns
}

// activities are what drives do, from the bottom of a stack.
var activities = []activity{
	{"writing at its speed", kindColors[record.Drive], func(u *record.Use) float64 { return float64(u.Write) }},
	{"writing, data comes too slowly", kindColors[record.Source], func(u *record.Use) float64 { return float64(u.Slow) }},
	{"reading", kindColors[record.Server], func(u *record.Use) float64 { return float64(u.Read) }},
	{"locating", kindColors[record.Position], func(u *record.Use) float64 { return float64(u.Position) }},
	{"threading, rewinding, ejecting", rgb(0xf9c58d), func(u *record.Use) float64 { return float64(u.Load) }},
	{"loaded, nothing to do", kindColors[record.Other], func(u *record.Use) float64 {
		return float64(max(u.Held-u.Write-u.Slow-u.Read-u.Position, 0))
	}},
}
