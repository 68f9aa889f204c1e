// Package page writes the report of one run or of several replications: one page
// of HTML that needs nothing else and no scripts, and the same figures as CSV and
// JSON. The same runs give the same bytes.
//
// Plots are SVG by gonum.org/v1/plot. A kind of resource has one colour wherever it
// shows.
package page
