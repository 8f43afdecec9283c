select metric, metric_label, description, kind, unit
from {{ source('registry', 'metrics') }}
