"""The toolbox for data: has it shifted since training, where, and can the shift be corrected."""
