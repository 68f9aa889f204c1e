package vtl

import "capstan/core/dev"

// Stats are the robot's and the drives' statistics.
func (l *Library) Stats() (dev.RobotStats, []dev.DriveStats) {
	l.lock.Lock()
	defer l.lock.Unlock()
	var all []dev.DriveStats
	for _, d := range l.drives {
		s := d.stats
		s.Name = d.name
		all = append(all, s)
	}
	return l.stats, all
}
