// Package guest gives tests a real tape stack on a machine without any: it boots
// a user-mode Linux kernel (Debian's user-mode-linux) as an ordinary process, with
// the host's file system as its root and a static Go program as its init. In the
// guest a tape library answers over iSCSI on the loopback interface, and the
// kernel's own drivers make /dev/nst0, /dev/sg0 and /dev/sch0 of it.
//
// A test binary built with CGO_ENABLED=0 is both sides. On the host, [Boot] starts
// the kernel with the same binary as init; there, as process 1, [Init] sets the
// guest up and runs the binary once more, with the tests:
//
//	func TestMain(m *testing.M) {
//		if guest.Inside() { guest.Init() } // does not return
//		…
//	}
//
// "make test-devices" is the user of it: its tests have the build tag devices, as
// they need the kernel, and minutes.
package guest
