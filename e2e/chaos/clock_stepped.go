//go:build clocks

package main

import "time"

func init() { step = time.Step } // settings.build adds it to package time.
