// Package process runs a job's roles as processes of the operating system: the
// real world's [host.Local].
//
// The daemon of a host starts its own binary again, with the hidden subcommand
// "process" and the words "<role>/<job>/<try>/<n>", so that ps shows what runs
// for which job. Nothing else is in the arguments or the environment. The
// process inherits one end of a socket pair as descriptor 3; what it shall do
// comes over that socket as one message, and over it go, the other way, its
// trace, its log and its result ([host.Exit]). The subcommand calls [Main].
//
//	daemon                                     process
//	  start {spec, world}              ────▶   build the environment, run the role
//	                                   ◀────   ready
//	                                   ◀────   notes {trace events, log records} …
//	  terminate                        ────▶   the role's context ends
//	                                   ◀────   result {bytes, or code and detail}
//	                                           exit
//
// # No process outlives its daemon
//
// The end of the socket is the end of the process: its context ends, and a few
// seconds later it exits whatever its role does. Besides, the kernel is told to
// send SIGKILL when the parent dies (PR_SET_PDEATHSIG). That signal follows the
// thread that forked, not the process, so all forks are made by one thread that
// never ends (see [forker]). It arrives at once, without the grace: a bptm whose
// daemon is gone must not still write to a drive when the next daemon starts.
// The socket remains the answer where the kernel forgets the signal, as it does
// when a program with other credentials is executed.
//
// Each process has a process group of its own: Ctrl-C at the daemon's terminal
// reaches the daemon alone, which ends its processes in order.
package process
