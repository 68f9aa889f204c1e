package attached

// Is tells whether an element's identifier is the drive's.
func (d *Device) Is(id string) bool { return d.is(id) }
