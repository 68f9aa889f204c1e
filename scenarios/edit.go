package scenarios

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Added is a device to be added to a host's file, with a comment of one line.
type Added struct {
	Device
	Comment string
}

var (
	devicesKey = regexp.MustCompile(`^devices:\s*(#.*)?$`)
	otherForm  = regexp.MustCompile(`^devices:`)
	listItem   = regexp.MustCompile(`^( *)- `)
)

// AddDevices adds devices to the text of a host's file, at the end of its list of
// devices. All else of the file, comments too, stays as it is. The file with them is
// checked: name is what errors call it.
func AddDevices(name string, text []byte, devices []Added) ([]byte, error) {
	if len(devices) == 0 {
		return text, nil
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	at, indent := len(lines), "  "
	head := []string{"", "devices:"}
	for i, line := range lines {
		if devicesKey.MatchString(line) {
			head = nil
			at, indent = endOfList(lines, i+1)
			break
		}
		if otherForm.MatchString(line) {
			return nil, fmt.Errorf("%s:%d: the list of devices is written on one line: write it with one entry on each, or remove it if it is empty", name, i+1)
		}
	}
	added := head
	for i := range devices {
		added = append(added, entry(&devices[i], indent)...)
	}
	all := append(append(append([]string{}, lines[:at]...), added...), lines[at:]...)
	out := []byte(strings.Join(all, "\n") + "\n")
	if _, err := Load[Host](name, out); err != nil {
		return nil, fmt.Errorf("the file with the devices added would not be right: %w", err)
	}
	return out, nil
}

// endOfList is the line behind the last entry of a list that begins at a line, and how
// far its entries are indented.
func endOfList(lines []string, from int) (at int, indent string) {
	at, indent = from, "  "
	first := true
	for i := from; i < len(lines); i++ {
		line := lines[i]
		switch m := listItem.FindStringSubmatch(line); {
		case m != nil && first:
			indent, first, at = m[1], false, i+1
		case strings.TrimSpace(line) == "", strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " "), m != nil:
			at = i + 1
		default:
			return at, indent
		}
	}
	return at, indent
}

// entry is a device as lines of a list. What has its default is left out.
func entry(d *Added, indent string) []string {
	var lines []string
	if d.Comment != "" {
		lines = append(lines, indent+"# "+d.Comment)
	}
	start := indent + "- "
	for _, f := range []struct {
		key, value string
	}{
		{"name", d.Name}, {"kind", d.Kind}, {"serial", quoted(d.Serial)}, {"path", d.Path}, {"library", d.Library},
		{"element", nonzero(d.Element)},
	} {
		if f.value != "" {
			lines = append(lines, start+f.key+": "+f.value)
			start = indent + "  "
		}
	}
	return lines
}

// quoted is text that must not be taken for a number.
func quoted(s string) string {
	if s == "" {
		return ""
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be written
	}
	return string(b)
}

func nonzero(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
