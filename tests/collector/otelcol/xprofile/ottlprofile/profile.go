// Package ottlprofile has the names that are needed to build, and refuses to parse conditions on profiles.
package ottlprofile

import (
	"errors"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"go.opentelemetry.io/collector/component"
)

// ContextName is the name of the context in conditions.
const ContextName = "profile"

// TransformContext has nothing in it.
type TransformContext struct{}

// ConditionSequenceOption is never made.
type ConditionSequenceOption func(*ottl.ConditionSequence[*TransformContext])

// NewParser fails: there are no profiles here.
func NewParser(map[string]ottl.Factory[*TransformContext], component.TelemetrySettings, ...ottl.Option[*TransformContext]) (ottl.Parser[*TransformContext], error) {
	return ottl.Parser[*TransformContext]{}, errors.New("this collector has no conditions on profiles")
}

// EnablePathContextNames does nothing, for there is no parser.
func EnablePathContextNames() ottl.Option[*TransformContext] {
	return func(*ottl.Parser[*TransformContext]) {}
}

// WithConditionSequenceErrorMode does nothing, for there are no conditions.
func WithConditionSequenceErrorMode(ottl.ErrorMode) ConditionSequenceOption {
	return func(*ottl.ConditionSequence[*TransformContext]) {}
}

// NewConditionSequence is never called, for there are no conditions.
func NewConditionSequence(conditions []*ottl.Condition[*TransformContext], settings component.TelemetrySettings, _ ...ConditionSequenceOption) ottl.ConditionSequence[*TransformContext] {
	return ottl.NewConditionSequence(conditions, settings)
}
