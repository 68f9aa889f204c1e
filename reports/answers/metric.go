package answers

// Metric is one figure of a run.
type Metric struct {
	Name, Unit string // Unit is "%", "s", "bytes", "jobs", "a day" or none
	Value      float64
	Better     string // "lower", "higher", or "" where neither is
}
