package vtl

import (
	"context"

	"capstan/core/dev"
	"capstan/core/rt"
)

var _ dev.TapeAlerter = (*driveHandle)(nil)

// TapeAlerts is the flag of a drive that asks to be cleaned, which stays until it was.
func (h *driveHandle) TapeAlerts(ctx context.Context) ([]dev.Alert, error) {
	rt.MayBlock(ctx)
	d, l := h.d, h.d.lib
	l.lock.Lock()
	defer l.lock.Unlock()
	if d.cleaning {
		return []dev.Alert{dev.AlertCleanNow}, nil
	}
	return nil, nil
}
