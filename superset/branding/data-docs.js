// Stands in for the libraries that Great Expectations' pages would fetch from elsewhere: it fills their
// tables, and every other call on them does nothing.
(function () {
  function fill(table, options) {
    var columns = options.columns || [];
    var head = columns.map(function (column) { return '<th>' + column.title + '</th>'; }).join('');
    var rows = (options.data || []).map(function (row) {
      var link = row._table_row_link_path;
      return '<tr>' + columns.map(function (column) {
        var value = row[column.field] === undefined ? '' : row[column.field];
        var isText = link && !/</.test(value);
        return '<td>' + (isText ? '<a href="' + encodeURI(link) + '">' + value + '</a>' : value) + '</td>';
      }).join('') + '</tr>';
    });
    table.innerHTML = '<thead><tr>' + head + '</tr></thead><tbody>' + rows.join('') + '</tbody>';
  }

  function inert(known) {
    var stand = new Proxy(function () { return stand; }, {
      get: function (target, name) { return known[name] || function () { return stand; }; },
    });
    return stand;
  }

  window.$ = window.jQuery = function (what) {
    var found = typeof what === 'string' && what.charAt(0) === '#' ? document.getElementById(what.slice(1)) : null;
    return inert({
      bootstrapTable: function (options) {
        if (found && options && options.columns) fill(found, options);
      },
    });
  };
})();
