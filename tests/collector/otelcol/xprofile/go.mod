// Stands in for one module that the module proxy has not: conditions on profiles, which the tail sampler's module brings along
// and no configuration here uses. Everything else of the sampler is its own.
module github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/xprofile

go 1.26.0

require (
	github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl v1.4.1
	go.opentelemetry.io/collector/component v1.71.0
)
