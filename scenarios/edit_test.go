package scenarios

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const mediaHost = `# The media server beside the library.
domain: example
name: media1
kinds: [media]   # and nothing else
master: {name: backup1, address: '192.0.2.10:1556'}
`

// TestAddDevices: devices go behind those that are there, and nothing else changes.
func TestAddDevices(t *testing.T) {
	added := []Added{
		{Device{Name: "robot1", Kind: "changer", Serial: "0012345678"}, "IBM 3573-TL, now /dev/sg4"},
		{Device{Name: "drive1", Kind: "drive", Serial: "10WT000001", Library: "robot1", Element: 256}, ""},
	}
	const entries = `  # IBM 3573-TL, now /dev/sg4
  - name: robot1
    kind: changer
    serial: "0012345678"
  - name: drive1
    kind: drive
    serial: "10WT000001"
    library: robot1
    element: 256
`
	const there = `devices: # ours
  - name: old   # the first one
    kind: changer
    serial: 'X1'
`
	tests := []struct{ name, before, want string }{
		{"none yet", mediaHost, mediaHost + "\ndevices:\n" + entries},
		{"behind others", mediaHost + there, mediaHost + there + entries},
		{"in the middle", mediaHost + there + "\n# where it lives\nstateDir: /srv\n", mediaHost + there + entries + "\n# where it lives\nstateDir: /srv\n"},
		{"not indented", mediaHost + "devices:\n- name: old\n  kind: changer\n  serial: X1\nstateDir: /srv\n",
			mediaHost + "devices:\n- name: old\n  kind: changer\n  serial: X1\n" + strings.ReplaceAll("\n"+entries, "\n  ", "\n")[1:] + "stateDir: /srv\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AddDevices("host.yaml", []byte(tt.before), added)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, string(got)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	for name, bad := range map[string]string{
		"on one line": mediaHost + "devices: []\n",
		"a name twice": mediaHost + `devices:
  - name: drive1
    kind: changer
    serial: X2
`,
	} {
		if got, err := AddDevices("host.yaml", []byte(bad), added); err == nil || !strings.Contains(err.Error(), "host.yaml:") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// TestDevicesAreChecked: each mistake is said at its place.
func TestDevicesAreChecked(t *testing.T) {
	for _, tt := range []struct{ devices, want string }{
		{"{name: d, kind: drive, serial: A}", "library"},
		{"{name: d, kind: drive, serial: A, library: r}", "changer"},
		{"{name: r, kind: changer}", "serial"},
		{"{name: r, kind: changer, serial: A, element: 3}", "element"},
		{"{name: r, kind: changer, serial: A, quirks: [purple]}", "no-dvcid"},
		{"{name: r, kind: changer, serial: A}, {name: s, kind: changer, serial: A}", "already"},
		{"{name: r, kind: changer, serial: A}, {name: d, kind: drive, path: /dev/sg1, library: r}", "element"},
		{"{name: r, kind: changer, serial: A}, {name: d, kind: drive, serial: B, library: r, quirks: [no-dvcid]}", "quirks"},
	} {
		_, err := Load[Host]("host.yaml", []byte(mediaHost+"devices: ["+tt.devices+"]\n"))
		if err == nil || !strings.Contains(err.Error(), "host.yaml:6") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want an error about %s", tt.devices, err, tt.want)
		}
	}
}
