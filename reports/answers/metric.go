package answers

type Metric struct {
	Name, Unit string
	Value      float64
	Better     string
}
