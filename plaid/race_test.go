//go:build race

package plaid

const raceEnabled = true
