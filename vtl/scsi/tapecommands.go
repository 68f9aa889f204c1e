package target

import (
	"capstan/core/dev"
	"capstan/core/scsi"
)

// tapeCommands are the commands of a drive beside the common ones.
func (u *tape) tapeCommands() []command {
	return []command{
		{scsi.Rewind, noAction, "REWIND", toRewind, writing, u.rewind, false, true, dev.OpRewind},
		{scsi.FormatMedium, noAction, "FORMAT MEDIUM", toLoad, writing, u.format, false, true, dev.OpErase},
		{scsi.ReadBlockLimits, noAction, "READ BLOCK LIMITS", minute, free, u.blockLimits, false, false, ""},
		{scsi.Read6, noAction, "READ(6)", toTransfer, reading, u.read6, false, true, dev.OpRead},
		{scsi.Read16, noAction, "READ(16)", toTransfer, reading, u.read16, false, true, dev.OpRead},
		{scsi.Write6, noAction, "WRITE(6)", toTransfer, writing, u.write6, false, true, dev.OpWrite},
		{scsi.Write16, noAction, "WRITE(16)", toTransfer, writing, u.write16, false, true, dev.OpWrite},
		{scsi.WriteFilemarks6, noAction, "WRITE FILEMARKS(6)", toTransfer, writing, u.filemarks6, false, true, dev.OpFilemarks},
		{scsi.WriteFilemarks16, noAction, "WRITE FILEMARKS(16)", toTransfer, writing, u.filemarks16, false, true, dev.OpFilemarks},
		{scsi.Space6, noAction, "SPACE(6)", toMove, writing, u.space6, false, true, dev.OpSpace},
		{scsi.Space16, noAction, "SPACE(16)", toMove, writing, u.space16, false, true, dev.OpSpace},
		{scsi.Verify6, noAction, "VERIFY(6)", toTransfer, reading, u.verify6, false, true, dev.OpRead},
		{scsi.Erase6, noAction, "ERASE(6)", toEraseLong, writing, u.erase, false, true, dev.OpErase},
		{scsi.Erase16, noAction, "ERASE(16)", toEraseLong, writing, u.erase16, false, true, dev.OpErase},
		{scsi.LoadUnload, noAction, "LOAD UNLOAD", toLoad, writing, u.loadUnload, false, false, ""},
		{scsi.Locate10, noAction, "LOCATE(10)", toMove, writing, u.locate10, false, true, dev.OpLocate},
		{scsi.Locate16, noAction, "LOCATE(16)", toMove, writing, u.locate16, false, true, dev.OpLocate},
		{scsi.ReadPosition, noAction, "READ POSITION", minute, reading, u.readPosition, false, true, dev.OpPosition},
		{scsi.ReportDensitySupport, noAction, "REPORT DENSITY SUPPORT", minute, free, u.densities, false, false, ""},
		{scsi.AllowOverwrite, noAction, "ALLOW OVERWRITE", minute, writing, u.allowOverwrite, false, true, ""},
		{scsi.ReadAttribute, noAction, "READ ATTRIBUTE", minute, reading, u.readAttribute, false, false, ""},
		{scsi.WriteAttribute, noAction, "WRITE ATTRIBUTE", minute, writing, u.writeAttribute, false, false, ""},
		{scsi.SecurityProtocolIn, noAction, "SECURITY PROTOCOL IN", minute, reading, u.securityIn, false, false, ""},
		{scsi.SecurityProtocolOut, noAction, "SECURITY PROTOCOL OUT", minute, writing, u.securityOut, false, false, ""},
		{scsi.MaintenanceIn, 0x1D, "RECEIVE RECOMMENDED ACCESS ORDER", minute, reading, u.receiveOrder, false, true, ""},
		{scsi.MaintenanceOut, 0x1D, "GENERATE RECOMMENDED ACCESS ORDER", toMove, writing, u.generateOrder, false, true, ""},
	}
}
