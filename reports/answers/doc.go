// Package answers makes of a run's record what a planner asks: whether the nights
// fit into their windows and by how much they do not, what limits them, how much
// drives, robots and links are used, how long mounts and restores take, when the
// scratch cartridges run out, and from which night on the site no longer fits.
//
// [Of] answers for one run. [Estimates] puts several replications together as means with
// Student's t (Law, Simulation Modeling and Analysis, chapter 9), and [Compare] two lots of
// them, pair by pair. What happened in a run's warm-up is left out.
package answers
