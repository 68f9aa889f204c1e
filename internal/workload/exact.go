package workload

import "math"

// Products are converted to float64 before they are added to something: Go may else
// join the two operations into one that rounds once, on some processors.

// ln2 in two parts: the first has zeros at its end, so that small multiples of it
// are exact.
const (
	ln2High = 6.93147180369123816490e-01
	ln2Low  = 1.90821492927058770002e-10
)

// Ln is the natural logarithm of x > 0, to about 1e-15.
func Ln(x float64) float64 {
	f, k := math.Frexp(x)
	if f < math.Sqrt2/2 {
		f, k = f*2, k-1
	}
	s := (f - 1) / (f + 1) // ln f = 2 artanh s, and |s| < 0.172
	q := s * s
	sum := 0.0
	for n := 23; n >= 1; n -= 2 {
		sum = float64(sum*q) + 1/float64(n)
	}
	return float64(float64(k)*ln2High) + (float64(2*s*sum) + float64(float64(k)*ln2Low))
}

// Exp is e to the power of x, to about 1e-15 of it.
func Exp(x float64) float64 {
	switch {
	case x > 700:
		x = 700
	case x < -700:
		return 0
	}
	k := math.Floor(float64(x/math.Ln2) + 0.5)
	r := (x - float64(k*ln2High)) - float64(k*ln2Low)
	sum := 1.0
	for n := 18; n >= 1; n-- {
		sum = float64(float64(sum*r)/float64(n)) + 1
	}
	return math.Ldexp(sum, int(k))
}

// pow is x to the power of y, for x > 0.
func pow(x, y float64) float64 { return Exp(float64(y * Ln(x))) }

// normal is the quantile function of the standard normal law: M. J. Wichura,
// Algorithm AS 241, Applied Statistics 37 (1988), PPND16, to about 1e-16 of it.
func normal(p float64) float64 {
	q := p - 0.5
	if math.Abs(q) <= 0.425 {
		r := 0.180625 - float64(q*q)
		return q * ratio(r, central)
	}
	r := min(p, 1-p)
	r = math.Sqrt(-Ln(r))
	var v float64
	if r <= 5 {
		v = ratio(r-1.6, middle)
	} else {
		v = ratio(r-5, far)
	}
	if q < 0 {
		return -v
	}
	return v
}

// ratio is one polynomial over another; the second begins with 1.
func ratio(r float64, c [2][8]float64) float64 {
	num, den := 0.0, 0.0
	for i := 7; i >= 0; i-- {
		num = float64(num*r) + c[0][i]
		den = float64(den*r) + c[1][i]
	}
	return num / den
}

var (
	central = [2][8]float64{
		{3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
			4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3},
		{1, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
			2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3},
	}
	middle = [2][8]float64{
		{1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
			1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4},
		{1, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
			1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9},
	}
	far = [2][8]float64{
		{6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
			2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7},
		{1, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
			7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15},
	}
)
