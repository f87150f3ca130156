//go:build clocks

package main

import "time"

func init() { step = time.Step } // steppedTime adds it to package time.
