package scenarios

import (
	"fmt"
	"strings"

	"capstan/core/dismount"
)

// Host is the configuration of one host: what its daemon is, where it listens,
// whom it knows. A master's file also says what the domain stores on.
type Host struct {
	// The domain of backup that the host belongs to; its authority signs the hosts' certificates.
	Domain string `yaml:"domain" need:"yes" is:"name" ex:"example"`
	// The name of this host, by which all others know it.
	Name string `yaml:"name" need:"yes" is:"name" ex:"backup1"`
	// What the host is: one or more roles.
	Kinds []string `yaml:"kinds" need:"yes" oneof:"master|media|client" ex:"[master, media]"`
	// The address and the one TCP port of PBX.
	Listen string `yaml:"listen" def:"0.0.0.0:1556" is:"hostport"`
	// The master of the domain. Not needed in the master's own file.
	Master Peer `yaml:"master,omitempty"`
	// Addresses of other hosts, by name; a host that is not listed is looked up in DNS, at port 1556.
	Hosts map[string]string `yaml:"hosts,omitempty" is:"hostport" ex:"{media1: '192.0.2.11:1556'}"`
	// Where the host keeps its durable state: certificates, and on a master the database and the images.
	StateDir string `yaml:"stateDir" def:"/var/lib/capstan" is:"abspath"`
	// Where sockets and files of running processes are kept.
	RunDir string `yaml:"runDir" def:"/run/capstan" is:"abspath"`
	// Virtual libraries that this media server runs.
	Libraries []Library `yaml:"libraries,omitempty"`
	// Tape hardware attached to this media server.
	Devices []Device `yaml:"devices,omitempty"`
	// Places to back up to. Master only.
	StorageUnits []StorageUnit `yaml:"storageUnits,omitempty"`
	// Groups of storage units. Master only.
	Groups []Group `yaml:"groups,omitempty"`
	// Volume pools. Master only; the pool Default exists always.
	Pools []Pool `yaml:"pools,omitempty"`
}

// Peer is another host.
type Peer struct {
	// The name in its certificate.
	Name string `yaml:"name,omitempty" is:"name" ex:"backup1"`
	// Its address and port.
	Address string `yaml:"address,omitempty" is:"hostport" ex:"192.0.2.10:1556"`
}

// Device is a drive or a changer of real hardware. "capstan devices" finds them.
type Device struct {
	// The name by which storage units and reports know it; a changer's is the name of its library.
	Name string `yaml:"name" need:"yes" is:"name" ex:"drive1"`
	// What it is.
	Kind string `yaml:"kind" need:"yes" oneof:"drive|changer" ex:"drive"`
	// The serial number, by which the device is found whatever its file in /dev is called, and the drive among the library's.
	Serial string `yaml:"serial,omitempty" ex:"1068000001"`
	// The SCSI generic device of one that tells no serial number.
	Path string `yaml:"path,omitempty" is:"abspath" ex:"/dev/sg2"`
	// Drive only: the library that it stands in, by the name of its changer.
	Library string `yaml:"library,omitempty" is:"name" ex:"robot1"`
	// Drive only: its address for the robot, if the library tells no serial numbers.
	Element int `yaml:"element,omitempty" max:"65535" ex:"256"`
	// Drive only: sg sends every command itself; st uses the kernel's tape driver, /dev/nst*.
	Driver string `yaml:"driver" def:"sg" oneof:"sg|st"`
	// Drive only: the drive compresses what it writes.
	Compression bool `yaml:"compression" def:"true"`
	// Drive only: a file with the key, 64 hexadecimal digits, by which the drive encrypts what it writes.
	KeyFile string `yaml:"keyFile,omitempty" is:"abspath" ex:"/etc/capstan/tape.key"`
	// Drive only: the drive checks and stores a checksum of each block, if it can.
	Protection bool `yaml:"protection" def:"true"`
	// Changer only: the media server that controls the robot, if it is another one; the changer is then among that one's devices, too, and has neither serial nor path here.
	Control string `yaml:"control,omitempty" is:"name" ex:"media1"`
	// Changer only: how long a cartridge stays in its drive after a job: immediate, for a time such as delay=300s, or lru: until the drive is needed.
	Dismount dismount.Policy `yaml:"dismount" def:"immediate" ex:"delay=300s"`
	// Changer only: what it does otherwise than others, and does not say.
	Quirks []string `yaml:"quirks,omitempty" oneof:"no-dvcid|dvcid-apart|no-volume-tags" ex:"[no-dvcid]"`
}

// Library describes a virtual tape library.
type Library struct {
	// The name of the library and of its robot.
	Name string `yaml:"name" need:"yes" is:"name" ex:"vtl1"`
	// The media server that the robot is attached to. In a host's own file: that host.
	Host string `yaml:"host,omitempty" is:"name" ex:"media1"`
	// Storage slots.
	Slots int `yaml:"slots" need:"yes" min:"1" max:"100000" ex:"20"`
	// Import and export slots.
	MailSlots int `yaml:"mailSlots" def:"0" max:"1000"`
	// The drives, in the order of their elements.
	Drives []Drive `yaml:"drives" need:"yes"`
	// The robot.
	Robot Robot `yaml:"robot,omitempty"`
	// The cartridges that are in the library at first.
	Cartridges Cartridges `yaml:"cartridges" need:"yes"`
	// How long the robot and the drives take: off, real, or a speed-up such as "scale 60".
	Timing Timing `yaml:"timing" def:"real"`
	// Where a real host keeps the cartridges as files. Default: under the host's stateDir.
	Dir string `yaml:"dir,omitempty" is:"abspath" ex:"/var/lib/capstan/vtl1"`
	// How long a cartridge stays in its drive after a job: immediate, for a time such as delay=300s, or lru: until the drive is needed.
	Dismount dismount.Policy `yaml:"dismount" def:"immediate" ex:"delay=300s"`
}

// Drive is one drive of a virtual library.
type Drive struct {
	// The name of the drive. With count: a pattern with one number, such as "drive%02d", counted from 1.
	Name string `yaml:"name" need:"yes" is:"pattern" ex:"drive1"`
	// How many such drives there are.
	Count int `yaml:"count,omitempty" def:"1" min:"1" max:"1000"`
	// In a scenario: the media server that has the drive, if not the one that the robot is attached to.
	Host string `yaml:"host,omitempty" is:"name" ex:"media2"`
	// The model, which gives its speeds: a generation, of full height; with HH, of half height.
	Model string `yaml:"model" need:"yes" oneof:"LTO-5|LTO-5 HH|LTO-6|LTO-6 HH|LTO-7|LTO-7 HH|LTO-8|LTO-8 HH|LTO-9|LTO-9 HH|LTO-10" ex:"LTO-8"`
}

// Robot is the robot of a library: the times of a model, some of them set anew. Times
// that are not given are the model's.
type Robot struct {
	// The model, which gives its times.
	Model string `yaml:"model" def:"rack" oneof:"rack|autoloader|SL8500|TS4500"`
	// Arms that carry cartridges beside each other, in each string.
	Arms int `yaml:"arms" def:"1" min:"1" max:"16"`
	// Libraries that pass-through ports join to this one, one to the next: drives and slots are shared out evenly among them, in their order.
	Strings int `yaml:"strings" def:"1" min:"1" max:"32"`
	// The time that a cartridge takes from one string to the next.
	PassThrough Duration `yaml:"passThrough,omitempty" ex:"15s"`
	// The time to take a cartridge out of its place.
	Pick Duration `yaml:"pick,omitempty" ex:"1500ms"`
	// The time to put one in.
	Put Duration `yaml:"put,omitempty" ex:"1500ms"`
	// What a move takes beside that and the way.
	Overhead Duration `yaml:"overhead,omitempty" ex:"5s"`
	// What another arm in the way costs.
	Aside Duration `yaml:"aside,omitempty" ex:"3s"`
	// The time to read the barcode at one element.
	Audit Duration `yaml:"audit,omitempty" ex:"1s"`
	// The time to open and close the mail slots.
	MailSlot Duration `yaml:"mailSlot,omitempty" ex:"20s"`
}

// Cartridges are the cartridges of a library, all of one kind, in its first
// slots. Their barcodes are the prefix and a number from 1, six characters
// together, and the density's suffix: CAP001L8; LA for LTO-10, PA for LTO-10P.
// Cleaning cartridges, CLN001L1, are in the slots after them.
type Cartridges struct {
	// How many there are.
	Count int `yaml:"count" need:"yes" min:"1" max:"100000" ex:"12"`
	// What the barcodes begin with.
	Prefix string `yaml:"prefix" def:"CAP" is:"prefix"`
	// What fits on one. 0 is the density's native capacity.
	Capacity Size `yaml:"capacity,omitempty" ex:"100GiB"`
	// How well the data compresses that is written on them: 2.5 is 2.5:1. 0 is not at all.
	Compression float64 `yaml:"compression,omitempty" max:"100" ex:"2.5"`
	// They were loaded before they came here: a drive of LTO-9 measures a new one at its first load, which takes most of an hour.
	Initialized bool `yaml:"initialized,omitempty" ex:"true"`
	// How many cleaning cartridges there are.
	Cleaning int `yaml:"cleaning,omitempty" max:"100" ex:"1"`
	// The generation of the medium; LTO-10P is the cartridge of 40 TB.
	Density string `yaml:"density" need:"yes" oneof:"LTO-5|LTO-6|LTO-7|LTO-8|LTO-9|LTO-10|LTO-10P" ex:"LTO-8"`
}

// StorageUnit is a place that backups are written to, by one media server.
type StorageUnit struct {
	// The name that policies use.
	Name string `yaml:"name" need:"yes" is:"name" ex:"tape1"`
	// Tape in a library, or files on a disk.
	Kind string `yaml:"kind" need:"yes" oneof:"tape|disk" ex:"tape"`
	// The media server that writes.
	MediaServer string `yaml:"mediaServer" need:"yes" is:"name" ex:"media1"`
	// Disk only: the directory of the images.
	Path string `yaml:"path,omitempty" is:"abspath" ex:"/backup"`
	// Tape only: the library, by the name of its robot.
	Library string `yaml:"library,omitempty" is:"name" ex:"vtl1"`
	// Tape only: the medium's generation.
	Density string `yaml:"density,omitempty" oneof:"LTO-5|LTO-6|LTO-7|LTO-8|LTO-9|LTO-10|LTO-10P" ex:"LTO-8"`
	// Most jobs at once; 0 is as many as there are drives, or no limit on disk.
	MaxJobs int `yaml:"maxJobs" def:"0" max:"1000"`
	// Tape only: most drives at once; 0 is all of the library's.
	MaxDrives int `yaml:"maxDrives" def:"0" max:"1000"`
	// Size of the blocks written; a restore uses the one of the backup.
	BlockSize Size `yaml:"blockSize" def:"256KiB" min:"1KiB" max:"8MiB"`
	// An image is cut into fragments of at most this size. 0 is the largest: 1 TiB on tape, 512 GiB on disk.
	FragmentSize Size `yaml:"fragmentSize,omitempty" ex:"10GiB"`
	// Tape only: the pool that volumes are taken from, unless the policy names one.
	Pool string `yaml:"pool,omitempty" is:"name" ex:"Default"`
}

// Group is a list of storage units of which one is chosen for each job.
type Group struct {
	// The name that policies use.
	Name string `yaml:"name" need:"yes" is:"name" ex:"tapes"`
	// How: the first available; the one used longest ago; the first, unless its media server is down.
	Choice string `yaml:"choice" def:"priority" oneof:"priority|round-robin|failover"`
	// The storage units, in order.
	Units []string `yaml:"units" need:"yes" ex:"[tape1, tape2]"`
}

// Pool is a set of volumes that are used for one purpose.
type Pool struct {
	// The name.
	Name string `yaml:"name" need:"yes" is:"name" ex:"Offsite"`
	// Volumes move from this pool to any other that has none left.
	Scratch bool `yaml:"scratch" def:"false"`
}

// DefaultPool exists in every domain.
const DefaultPool = "Default"

// volumeID is the number of characters of a barcode before its suffix, by which
// the media are known (ANSI/TIA labels of LTO cartridges: six and two).
const volumeID = 6

// eachDrive spells out the drives that have a count; none has one then.
func eachDrive(all []Drive) (each []Drive) {
	for _, d := range all {
		for i := 1; i <= min(max(d.Count, 1), maxDrives); i++ {
			one := d
			one.Count = 0
			if strings.Contains(d.Name, "%") {
				one.Name = fmt.Sprintf(d.Name, i)
			}
			each = append(each, one)
		}
	}
	return each
}

// maxDrives is what one entry of drives stands for at most.
const maxDrives = 1000

// Barcodes are the barcodes of the cartridges, in the order of their slots.
func (c *Cartridges) Barcodes() []string {
	suffix, found := map[string]string{"LTO-10": "LA", "LTO-10P": "PA"}[c.Density]
	if !found {
		suffix = strings.Replace(c.Density, "LTO-", "L", 1)
	}
	all := make([]string, c.Count)
	for i := range all {
		all[i] = fmt.Sprintf("%s%0*d%s", c.Prefix, volumeID-len(c.Prefix), i+1, suffix)
	}
	return all
}

// CleaningBarcodes are the barcodes of the cleaning cartridges, in the order of their
// slots.
func (c *Cartridges) CleaningBarcodes() []string {
	all := make([]string, c.Cleaning)
	for i := range all {
		all[i] = fmt.Sprintf("CLN%03dL1", i+1)
	}
	return all
}
