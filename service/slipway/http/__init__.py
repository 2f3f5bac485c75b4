"""What every route is made of: problems, preconditions, paging, fields, the document."""
