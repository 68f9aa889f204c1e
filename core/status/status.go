// Package status holds the status codes that operators know, and the error that
// carries one. A job ends with one code: 0 is success, 1 partial success, every
// other code a failure.
package status

import (
	"errors"
	"fmt"
)

// Code is a job's or a request's ending status.
type Code int

// The codes that Capstan's roles use, with their meaning in the field.
const (
	OK                 Code = 0
	Partial            Code = 1   // some files could not be backed up or changed meanwhile
	RestoreFailed      Code = 5   // the restore failed to recover the requested files
	SystemCall         Code = 11  // a system call failed
	FileOpen           Code = 12  // a file could not be opened
	FileRead           Code = 13  // a file could not be read
	FileWrite          Code = 14  // a file could not be written
	BadParameter       Code = 20  // invalid command parameter
	SocketOpen         Code = 25  // cannot connect on socket
	KilledBySignal     Code = 27  // a child process was killed by a signal
	InvalidServer      Code = 37  // operation requested by an invalid server
	NetworkBroken      Code = 40  // network connection broken
	NetworkTimeout     Code = 41  // network connection timed out
	NetworkRead        Code = 42  // network read failed
	NotAllowed         Code = 46  // server not allowed access
	HostUnreachable    Code = 47  // host is unreachable
	UnknownClient      Code = 48  // client host name could not be found
	ClientDidNotStart  Code = 49  // client did not start
	ClientAborted      Code = 50  // client process aborted
	MountTimeout       Code = 52  // timed out waiting for media mount
	CannotConnect      Code = 58  // cannot connect to client
	ClientNotAllowed   Code = 59  // access to the client was not allowed
	NoFiles            Code = 71  // none of the files in the file list exist
	DeviceDaemonDown   Code = 80  // media manager device daemon (ltid) is not active
	MediaManagerKilled Code = 82  // media manager killed by signal
	MediaOpen          Code = 83  // media open error
	MediaWrite         Code = 84  // media write error
	MediaRead          Code = 85  // media read error
	MediaPosition      Code = 86  // media position error
	MediaClose         Code = 87  // media close error
	SharedMemory       Code = 89  // problems setting up shared memory
	NoData             Code = 90  // media manager received no data for the backup image
	NotTar             Code = 92  // media manager found data that is not in tar format
	WrongMedia         Code = 93  // media manager found the wrong tape in the drive
	CannotPosition     Code = 94  // media manager cannot position to the correct image
	NoMedia            Code = 96  // unable to allocate new media for backup
	MediaInUse         Code = 97  // requested media is in use
	MediaRequest       Code = 98  // error requesting media
	DiskFull           Code = 129 // storage unit is full
	SystemError        Code = 130 // system error occurred
	ServerBusy         Code = 134 // server resources are busy
	MasterFailed       Code = 149 // master server request failed
	Terminated         Code = 150 // termination requested by administrator
	NoFragments        Code = 165 // no fragments for the backup id and copy
	OverwriteRefused   Code = 168 // cannot overwrite media, data on it is protected
	BadMediaHeader     Code = 172 // cannot read the media header
	BadBackupHeader    Code = 173 // cannot read the backup header
	MediaSystemError   Code = 174 // media manager system error
	NotAllRestored     Code = 175 // not all requested files were restored
	ImportImpossible   Code = 176 // cannot perform the specified media import operation
	TarError           Code = 184 // tar had an unexpected error
	NoImage            Code = 190 // found no images or media matching the criteria
	NothingImported    Code = 191 // no images were successfully processed
	WindowClosed       Code = 196 // client backup was not attempted because its window closed
	NoSchedule         Code = 198 // no active policies contain schedules for this client
	NoStorageUnit      Code = 213 // no storage units available for use
	StorageUnit        Code = 219 // the required storage unit is unavailable
	Database           Code = 220 // database system error
	NotFound           Code = 227 // no entity was found
	Inconsistent       Code = 229 // events out of sequence, image inconsistency
	NotActive          Code = 247 // the specified policy is not active
	ResourceFailed     Code = 800 // resource request failed
	JobManager         Code = 801 // job manager internal error
	DrivesDown         Code = 830 // drives unavailable or down
	NoDrive            Code = 2001
	MediaNotDefined    Code = 2031
	MediaMisplaced     Code = 2033
	DriveNotReady      Code = 2037
	WriteProtected     Code = 2047
	ReservationHeld    Code = 2039 // SCSI reservation conflict
)

var messages = map[Code]string{
	OK:                 "the requested operation was successfully completed",
	Partial:            "the requested operation was partially successful",
	RestoreFailed:      "the restore failed to recover the requested files",
	SystemCall:         "system call failed",
	FileOpen:           "file open failed",
	FileRead:           "file read failed",
	FileWrite:          "file write failed",
	BadParameter:       "invalid command parameter",
	SocketOpen:         "cannot connect on socket",
	KilledBySignal:     "child process killed by signal",
	InvalidServer:      "operation requested by an invalid server",
	NetworkBroken:      "network connection broken",
	NetworkTimeout:     "network connection timed out",
	NetworkRead:        "network read failed",
	NotAllowed:         "server not allowed access",
	HostUnreachable:    "host is unreachable",
	UnknownClient:      "client hostname could not be found",
	ClientDidNotStart:  "client did not start",
	ClientAborted:      "client process aborted",
	MountTimeout:       "timed out waiting for media mount",
	CannotConnect:      "can't connect to client",
	ClientNotAllowed:   "access to the client was not allowed",
	NoFiles:            "none of the files in the file list exist",
	DeviceDaemonDown:   "device daemon (ltid) is not active",
	MediaManagerKilled: "media manager killed by signal",
	MediaOpen:          "media open error",
	MediaWrite:         "media write error",
	MediaRead:          "media read error",
	MediaPosition:      "media position error",
	MediaClose:         "media close error",
	SharedMemory:       "problems encountered during setup of shared memory",
	NoData:             "media manager received no data for backup image",
	NotTar:             "media manager detected image that is not in tar format",
	WrongMedia:         "media manager found wrong tape in drive",
	CannotPosition:     "cannot position to correct image",
	NoMedia:            "unable to allocate new media for backup, storage unit has none available",
	MediaInUse:         "requested media is in use, cannot process request",
	MediaRequest:       "error requesting media",
	DiskFull:           "disk storage unit is full",
	SystemError:        "system error occurred",
	ServerBusy:         "unable to process request because the server resources are busy",
	MasterFailed:       "master server request failed",
	Terminated:         "termination requested by administrator",
	NoFragments:        "NB image database contains no image fragments for requested backup id/copy number",
	OverwriteRefused:   "cannot overwrite media, data on it is protected",
	BadMediaHeader:     "cannot read media header, may not be our media or is corrupted",
	BadBackupHeader:    "cannot read backup header, media may be corrupted",
	MediaSystemError:   "media manager - system error occurred",
	NotAllRestored:     "not all requested files were restored",
	ImportImpossible:   "cannot perform specified media import operation",
	TarError:           "tar had an unexpected error",
	NoImage:            "found no images or media matching the selection criteria",
	NothingImported:    "no images were successfully processed",
	WindowClosed:       "client backup was not attempted because backup window closed",
	NoSchedule:         "no active policies contain schedules of the requested type for this client",
	NoStorageUnit:      "no storage units available for use",
	StorageUnit:        "the required storage unit is unavailable",
	Database:           "database system error",
	NotFound:           "no entity was found",
	Inconsistent:       "events out of sequence - image inconsistency",
	NotActive:          "the specified policy is not active",
	ResourceFailed:     "resource request failed",
	NoDrive:            "no drives are available",
	JobManager:         "job manager internal error",
	DrivesDown:         "drives unavailable or down",
	MediaNotDefined:    "media is not defined in EMM",
	MediaMisplaced:     "media is misplaced",
	DriveNotReady:      "drive is not ready",
	ReservationHeld:    "SCSI reservation conflict",
	WriteProtected:     "media is write protected",
}

// Message is the meaning of the code in the field's words.
func (c Code) Message() string {
	if m, ok := messages[c]; ok {
		return m
	}
	return fmt.Sprintf("status %d", int(c))
}

// Succeeded tells whether an image with this status may be used: 0 and 1.
func (c Code) Succeeded() bool { return c == OK || c == Partial }

// Error is an error with a status code.
type Error struct {
	Code Code
	Err  error // what happened, to what, what to do; nil for the code's message alone
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s (status %d)", e.Code.Message(), int(e.Code))
	}
	return fmt.Sprintf("%v: %s (status %d)", e.Err, e.Code.Message(), int(e.Code))
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error with a code; the rest is as for fmt.Errorf.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Detail is the text of err without the status messages around it.
func Detail(err error) string {
	var e *Error
	if errors.As(err, &e) {
		if e.Err == nil {
			return e.Code.Message()
		}
		return e.Err.Error()
	}
	return err.Error()
}

// Of is the code that err carries; other is the code of an error that carries none.
func Of(err error, other Code) Code {
	if err == nil {
		return OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return other
}
