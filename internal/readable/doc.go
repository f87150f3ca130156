// Package readable writes numbers, times and names as people read them, for the messages of package
// ops and for idemctl.
package readable
